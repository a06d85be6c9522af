"""Little room: what is kept for making space is enough to make it, however much there is to delete."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from artstore import Store
from artstore.errors import StorageFull
from artstore.lifecycle.prune import AT_ONCE
from artstore.storage import reserve
from tests.damage.disks import Disk, check, noise, put, read

pytestmark = pytest.mark.root


def test_a_file_that_does_not_fit_says_how_much_is_lacking(volume: Path, tmp_path: Path) -> None:
    """P3. Who frees a gigabyte for a file of two has to begin anew."""
    large = tmp_path / "large"
    large.write_bytes(noise(20 << 20))
    with Store.init(Disk(volume).store) as store, pytest.raises(StorageFull) as caught:
        store.put([large], name="cats", type="t")

    assert re.search(r"it takes 20,971,520 bytes, and 1[0-5],[\d,]+ are free", caught.value.message)


def test_the_last_of_the_reserve_is_used_too(volume: Path) -> None:
    """On a small disk it is so little that the disk stays nearly full, and `gc` did not even try with it."""
    disk = Disk(volume)
    with Store.init(disk.store) as store:
        put(store, noise(1_000_000))
        store.delete("p/cats:v0")
        for path in sorted((disk.store / reserve.FOLDER).iterdir())[1:]:
            path.unlink()
        disk.leave(0)
        store._root.catalog.load_into_memory(StorageFull("no room", code="storage-full"))

        assert store.gc(grace_s=0).freed_bytes > 1_000_000


@pytest.mark.parametrize("size", [20_000, 60_000, 300_000])
def test_what_filled_a_disk_can_be_deleted_and_freed(volume: Path, size: int) -> None:
    """P3. One deletion of all used up the reserve, and then neither `gc` nor anything else could ever write again."""
    disk = Disk(volume)
    with Store.init(disk.store) as store:

        def fill() -> None:
            while True:
                metadata = {"curve": noise(size).hex()}
                store.put([io.BytesIO(noise(3_000))], name="cats", type="t", project="p", prefix="f", metadata=metadata)

        with pytest.raises(StorageFull):
            fill()
    disk.leave(0)

    with Store.open(disk.store) as store:
        report = store.prune(["cats"], keep_last=2, project="p")
        assert len(report.deleted) > 2 * AT_ONCE or size > 20_000
        # Beside somebody who takes every byte that comes free; what only tidies up has no room then.
        disk.leave(0)
        assert store.gc(grace_s=0).freed_bytes >= 3_000 * len(report.deleted)
        assert list((disk.store / reserve.FOLDER).iterdir())
        kept = [f"p/cats:v{version.number}" for version in store.versions("p/cats")]
        known = {reference: read(store, reference) for reference in kept}
        assert len(known) == 2
        known[put(store, b"now it fits")] = b"now it fits"
        check(store, known)
