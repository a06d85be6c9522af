"""Parts: many writers, one version; nothing is seen early, nothing is lost, and the order does not matter."""

from __future__ import annotations

import io
import itertools
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from artstore.errors import ArtstoreError, Conflict, PathCollision
from artstore.lifecycle.repair import repair
from artstore.lifecycle.reports import VersionInfo
from artstore.model.manifest import reference
from artstore.store import Store
from tests.conftest import Children

Put = Callable[..., VersionInfo]

LARGE = bytes(range(256)) * 5_000


def add(store: Store, files: Mapping[str, bytes], *, id: str = "d", name: str = "cats", **said: Any) -> str:
    with store.draft() as draft:
        for path, data in files.items():
            draft.add_stream(io.BytesIO(data), path)
        return store.add_part(draft, name=name, type="dataset", distributed_id=id, **said)


def finish(store: Store, files: Mapping[str, bytes] | None = None, *, id: str = "d", **said: Any) -> VersionInfo:
    if files is None:
        return store.finish_parts(name="cats", type="dataset", distributed_id=id, **said)
    with store.draft() as draft:
        for path, data in files.items():
            draft.add_stream(io.BytesIO(data), path)
        return store.finish_parts(draft, name="cats", type="dataset", distributed_id=id, **said)


def contents(store: Store, ref: str = "cats") -> dict[str, bytes]:
    return {entry.path: b"".join(store.read(ref, entry.path)) for entry in store.entries(ref)}


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(ArtstoreError) as caught:
        act()
    return caught.value.code


def test_parts_become_one_version(store: Store) -> None:
    """Together with what the finisher adds itself; the bytes are those that each wrote."""
    add(store, {"a": b"a", "both": b"same"})
    add(store, {"b/c": LARGE, "both": b"same"})
    version = finish(store, {"index": b"i"}, expect=2)

    assert ("cats:v0", 4, 6 + len(LARGE)) == (version.name, version.files, version.bytes)
    assert {"a": b"a", "both": b"same", "b/c": LARGE, "index": b"i"} == contents(store)
    assert store.verify().ok


def test_nobody_sees_a_part(store: Store) -> None:
    """Half of a data set must not be trained on."""
    id_ = add(store, {"a": b"a"}, run="r")

    assert [] == store.collections()
    (part,) = store.parts()
    assert (id_, "uncategorized", "cats", "dataset", "d", "r", 1, 1) == (
        part.id, part.project, part.name, part.type, part.distributed_id, part.run, part.files, part.bytes,
    )  # fmt: skip
    assert 1 == store.status().unfinished_parts
    assert [] == store.parts("zoo")
    finish(store)
    assert ([], 0) == (store.parts(), store.status().unfinished_parts)


def test_the_order_does_not_matter(store: Store) -> None:
    """Which worker was faster is chance; the version must not be."""
    parts: list[dict[str, Any]] = [
        {"files": {"a": b"a"}, "run": "one", "metadata": {"x": 1, "a": 1}, "description": "one", "aliases": ["p"]},
        {"files": {"b": b"b"}, "run": "two", "metadata": {"x": 2, "b": 2}, "description": "two"},
        {"files": {"c": b"c"}, "run": None, "metadata": {"x": 3}, "aliases": ["q"]},
    ]
    seen = set()
    for number, order in enumerate(itertools.permutations(parts)):
        for part in order:
            add(store, **part, id=str(number), name=f"n{number}")
        version = store.finish_parts(name=f"n{number}", type="dataset", distributed_id=str(number))
        seen.add((version.digest, str(sorted(version.metadata.items())), version.description, tuple(version.aliases)))

    assert 1 == len(seen)
    ((_, metadata, description, aliases),) = seen
    assert ("[('a', 1), ('b', 2), ('x', 2)]", "two", ("latest", "p", "q")) == (metadata, description, aliases)


def test_the_finisher_has_the_last_word(store: Store) -> None:
    add(store, {"a": b"a"}, metadata={"x": 1, "y": 1}, description="part", aliases=["p"])
    version = finish(store, metadata={"x": 2}, description="whole", aliases=["w"], ttl_s=60.0, tags=["t"], run="f")

    assert ({"x": 2, "y": 1}, "whole", ["latest", "p", "w"], 60.0, ["t"], "f") == (
        version.metadata, version.description, version.aliases, version.ttl_s, version.tags, version.run,
    )  # fmt: skip


def test_two_contents_of_one_path_are_an_error_that_names_both(store: Store) -> None:
    """One of the two would be lost without a word."""
    add(store, {"x/y": b"one"}, run="alice")
    add(store, {"x/y": b"two"}, run="bob")
    with pytest.raises(PathCollision) as caught:
        finish(store)

    assert "parts-clash" == caught.value.code
    for word in ("'x/y'", "'alice'", "'bob'"):
        assert word in caught.value.message
    assert ([], 2) == (store.collections(), len(store.parts()))


def test_a_clash_with_what_the_finisher_adds_is_named_too(store: Store) -> None:
    add(store, {"x": b"one"}, run="alice")

    assert "parts-clash" == code_of(lambda: finish(store, {"x": b"two"}, run="carol"))
    assert {"x": b"one", "z": b""} == contents(store, finish(store, {"z": b""}).ref)


def test_a_file_where_another_has_a_folder_is_refused(store: Store) -> None:
    add(store, {"x": b"one"})
    add(store, {"x/y": b"two"})
    with pytest.raises(PathCollision):
        finish(store)
    assert [] == store.collections()


def test_references_go_along(store: Store) -> None:
    with store.draft() as draft:
        draft.add_entry(reference("r", "https://example.org/r", checksum="e", size=3, extra={"etag": "e"}))
        store.add_part(draft, name="cats", type="dataset", distributed_id="d")
    finish(store)

    assert ["https://example.org/r"] == [entry.uri for entry in store.entries("cats")]


def test_a_later_part_belongs_to_the_next_version(store: Store) -> None:
    """W&B's rule: the same id goes on, and the version that was finished stays as it is."""
    add(store, {"a": b"a"})
    first = finish(store)
    add(store, {"b": b"b"})
    second = finish(store)

    assert ("cats:v0", {"a": b"a"}) == (first.name, contents(store, first.ref))
    assert ("cats:v1", {"b": b"b"}) == (second.name, contents(store, second.ref))


def test_parts_of_another_name_or_id_are_not_touched(store: Store) -> None:
    add(store, {"a": b"a"})
    add(store, {"b": b"b"}, id="e")
    add(store, {"c": b"c"}, name="dogs")
    finish(store)

    assert {"a": b"a"} == contents(store)
    assert {("cats", "e"), ("dogs", "d")} == {(part.name, part.distributed_id) for part in store.parts()}


def test_too_few_parts_are_not_finished(store: Store) -> None:
    add(store, {"a": b"a"})
    with pytest.raises(Conflict) as caught:
        finish(store, expect=2)
    assert "parts-missing" == caught.value.code
    assert "1 of 2" in caught.value.message
    add(store, {"b": b"b"})
    assert 2 == finish(store, expect=2).files


def test_without_parts_there_is_nothing_to_finish(store: Store, put: Put) -> None:
    assert "no-parts" == code_of(lambda: finish(store))
    assert "project-not-found" == code_of(lambda: store.drop_parts("zoo/cats", distributed_id="d"))
    put({"a": b"a"})
    assert "no-parts" == code_of(lambda: store.drop_parts("cats", distributed_id="d"))
    assert "cats:v1" == finish(store, {"b": b"b"}).name


def test_equal_content_is_no_new_version(store: Store, put: Put) -> None:
    version = put({"a": b"a"})
    add(store, {"a": b"a"}, run="late")
    again = finish(store)

    assert (version.id, []) == (again.id, store.parts())


def test_types_do_not_mix(store: Store, put: Put) -> None:
    put({"a": b"a"}, name="dogs")
    add(store, {"a": b"a"})
    with store.draft() as draft:
        draft.add_stream(io.BytesIO(b""), "x")
        for name in ("cats", "dogs"):
            said = {"name": name, "type": "model", "distributed_id": "d"}
            assert "type-clash" == code_of(lambda said=said: store.add_part(draft, **said))  # type: ignore[misc]
    with store.draft() as draft:
        assert "type-clash" == code_of(lambda: store.finish_parts(draft, name="cats", type="model", distributed_id="d"))
    for id_ in ("", "a\nb", "x" * 129):
        assert "bad-distributed-id" == code_of(lambda id_=id_: add(store, {}, id=id_))  # type: ignore[misc]


def test_every_writer_has_logged_the_version(store: Store) -> None:
    """Who asks what a worker has made gets an answer; the version was made by who finished it."""
    for run in ("one", "two", "finisher"):
        store.start_run(id=run)
    add(store, {"a": b"a"}, run="one")
    add(store, {"b": b"b"}, run="two")
    add(store, {"c": b"c"}, run="two")
    version = finish(store, run="finisher")

    assert [[version.id]] * 3 == [[v.id for v in store.outputs(run)] for run in ("one", "two", "finisher")]
    maker = store.logged_by("cats")
    assert maker is not None
    assert "finisher" == maker.id


# What keeps, and what frees.


def test_what_a_part_needs_is_never_collected(store: Store) -> None:
    """Hours may lie between a part and the finish, and a gc in every one of them."""
    add(store, {"large": LARGE, "small": b"small"})
    add(store, {"large": LARGE, "other": b"other"})
    for _ in range(3):
        store.gc(grace_s=0)
    assert store.verify().ok
    version = finish(store)
    store.gc(grace_s=0)

    assert {"large": LARGE, "small": b"small", "other": b"other"} == contents(store, version.ref)


def test_what_dropped_parts_had_alone_is_collected(store: Store, put: Put) -> None:
    put({"kept": b"kept"}, name="dogs")
    add(store, {"large": LARGE, "kept": b"kept"})
    add(store, {"b": b"b"})
    assert 2 == store.drop_parts("cats", distributed_id="d")
    store.gc(grace_s=0)
    store.gc(grace_s=0)

    assert 4 == store.du().stored_bytes
    assert ([], {"kept": b"kept"}) == (store.parts(), contents(store, "dogs"))


def test_only_what_is_old_or_of_one_run_is_dropped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Next week's housekeeping must not take what a job has added tonight, nor must a clock that is wrong."""
    for run in ("one", "two"):
        add(store, {run: b"x"}, run=run)
    assert 1 == store.drop_parts("cats", distributed_id="d", run="one")
    assert "no-parts" == code_of(lambda: store.drop_parts("cats", distributed_id="d", run="one"))
    later = time.time() + 3 * 86_400
    monkeypatch.setattr(time, "time", lambda: later)
    monkeypatch.setattr(time, "time_ns", lambda: int(later * 1e9))
    add(store, {"three": b"x"}, id="e", run="three")
    dropped = store.drop_old_parts(86_400.0)
    assert (1, ["three"]) == (dropped, [part.run for part in store.parts()])
    monkeypatch.setattr(time, "time", lambda: later * 2)

    assert 0 == store.drop_old_parts(86_400.0 * 365)
    assert "bad-age" == code_of(lambda: store.drop_old_parts(-1.0))


def test_what_a_deleted_version_had_from_parts_is_collected(store: Store) -> None:
    """Once gathered, a part holds nothing any more."""
    add(store, {"large": LARGE})
    finish(store, {"x": b"x"})
    store.delete("cats:v0")
    store.gc(grace_s=0)
    store.gc(grace_s=0)

    assert 0 == store.status().stored_bytes


def test_parts_on_a_deleted_base_stand(store: Store, put: Put) -> None:
    """A part is kept as the difference to the latest version, which may be deleted before the finish."""
    many = {f"f{number}": bytes([number]) for number in range(50)}
    put(many)
    add(store, {**many, "new": b"new"})
    store.delete("cats:v0")
    store.gc(grace_s=0)
    store.gc(grace_s=0)

    assert {**many, "new": b"new"} == contents(store, finish(store).ref)


def test_a_rebuild_gives_back_every_part(store: Store, put: Put) -> None:
    put({"old": b"old"})
    add(store, {"a": b"a"}, run="r", metadata={"x": 1}, aliases=["p"])
    add(store, {"b": LARGE})
    store.gc(grace_s=0)
    before = store.parts()
    path = store.path
    store.close()
    for file in path.glob("catalog.db*"):
        file.unlink()
    assert [] == Store.rebuild(path).lost

    with Store.open(path) as again:
        assert before == again.parts()
        assert {"a": b"a", "b": LARGE} == contents(again, finish(again).ref)


def test_a_lost_blob_of_a_part_is_named(store: Store) -> None:
    add(store, {"a": LARGE})
    (blob,) = [path for path in (store.path / "blobs").rglob("*") if path.is_file()]
    blob.unlink()

    assert {"blob-damaged", "blob-missing"} >= {problem.kind for problem in store.verify().problems} > set()


def test_a_backup_has_the_parts(store: Store, tmp_path: Path) -> None:
    add(store, {"a": b"a", "b": LARGE})
    store.backup(tmp_path / "copy")

    with Store.open(tmp_path / "copy") as copy:
        assert store.parts() == copy.parts()
        assert {"a": b"a", "b": LARGE} == contents(copy, finish(copy).ref)


def test_a_lost_file_of_the_log_is_written_again_with_the_parts_manifest(store: Store) -> None:
    """The catalog has the rows; a log without them would lose the part at the next rebuild."""
    add(store, {"a": b"a"})
    add(store, {"b": b"b"})
    store._root.log.files("uncategorized")[-1].path.unlink()
    assert [] == repair(store._root, ()).still_damaged
    path = store.path
    store.close()
    assert [] == Store.rebuild(path).lost

    with Store.open(path) as again:
        assert {"a": b"a", "b": b"b"} == contents(again, finish(again).ref)


# Many at once.

WORKER = """
import io, sys
from pathlib import Path
from artstore.store import Store
with Store.open(Path(sys.argv[1])) as store, store.draft() as draft:
    draft.add_stream(io.BytesIO(sys.argv[2].encode()), f"part/{sys.argv[2]}")
    draft.add_stream(io.BytesIO(b"shared"), "shared")
    store.add_part(draft, name="cats", type="dataset", distributed_id="d", run=sys.argv[2])
"""


def test_processes_add_parts_side_by_side(store: Store, children: Children) -> None:
    workers = [children.start(WORKER, store.path, number) for number in range(6)]
    assert [0] * 6 == [worker.wait() for worker in workers]
    version = finish(store, expect=6)

    assert 7 == version.files
    assert {**{f"part/{n}": str(n).encode() for n in range(6)}, "shared": b"shared"} == contents(store)


def test_threads_add_parts_while_others_finish(store: Store) -> None:
    """Each part is in one version, whoever finishes when."""

    def work(number: int) -> None:
        add(store, {f"f{number}": str(number).encode()}, run=f"r{number}")
        if number % 4 == 3:
            try:
                finish(store)
            except ArtstoreError as error:
                # Somebody else has taken all there were.
                assert "no-parts" == error.code  # noqa: PT017

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(work, range(32)))
    if store.parts():
        finish(store)
    paths = [entry.path for version in store.versions("cats") for entry in store.entries(version.ref)]

    assert sorted(f"f{number}" for number in range(32)) == sorted(paths)
    assert store.verify().ok


def test_two_who_finish_at_once_make_one_version(store: Store) -> None:
    add(store, {"a": b"a"})

    def work(_number: int) -> str:
        try:
            return finish(store).name
        except ArtstoreError as error:
            return error.code

    with ThreadPoolExecutor(8) as pool:
        ends = sorted(pool.map(work, range(8)))
    assert ["cats:v0", *["no-parts"] * 7] == ends
    assert os.listdir(store.path / "tmp") == []
