"""References: what is promised for every scheme alike, against real servers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from artstore.errors import ArtstoreError, Corrupt, Invalid, PathCollision, ReferenceChanged, ReferenceMissing
from artstore.filesystem import ArtstoreFileSystem
from artstore.model.manifest import ReferenceEntry
from artstore.references.expand import expand
from artstore.references.fetch import fetch
from artstore.store import Store
from tests.references.sites import Site

# The servers are filled with bytes at hand; that this keeps an event loop busy does not matter here.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")

CAT = os.urandom(3_000_000)
DOG = os.urandom(3_000_000)


def only(uri: str) -> ReferenceEntry:
    (entry,) = expand(uri)
    return entry


def all_of(entry: ReferenceEntry) -> bytes:
    return b"".join(fetch(entry))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.init(tmp_path / "store")


def test_the_bytes_come_back(site: Site) -> None:
    entry = only(f"{site.publish({'model.h5': CAT})}/model.h5")

    assert ("model.h5", len(CAT)) == (entry.path, entry.size)
    assert CAT == all_of(entry)


def test_recording_the_same_state_twice_gives_the_same_entry(site: Site) -> None:
    """Otherwise every log would make a new version."""
    uri = f"{site.publish({'model.h5': CAT})}/model.h5"

    assert only(uri) == only(uri)


@pytest.mark.parametrize("data", [DOG, b"short", DOG + CAT, b""])
def test_other_bytes_are_never_given(site: Site, data: bytes) -> None:
    """Whether of the same size or not: the recorded ones come back, or an error does."""
    uri = f"{site.publish({'model.h5': CAT})}/model.h5"
    before = only(uri)

    site.change(uri, data)

    assert before != only(uri)
    if site.keeps_versions:
        assert CAT == all_of(before)
    else:
        with pytest.raises(ReferenceChanged) as caught:
            all_of(before)
        assert "reference-changed" == caught.value.code
    assert data == all_of(only(uri))


def test_what_is_gone_is_an_error_that_python_knows(site: Site) -> None:
    uri = f"{site.publish({'model.h5': CAT})}/model.h5"
    entry = only(uri)

    site.remove(uri)

    if site.keeps_versions:
        assert CAT == all_of(entry)
    else:
        with pytest.raises(FileNotFoundError) as caught:
            all_of(entry)
        assert isinstance(caught.value, ReferenceMissing)
    with pytest.raises(ReferenceMissing) as refused:
        expand(uri)
    assert "reference-missing" == refused.value.code


def test_what_never_was_cannot_be_recorded(site: Site) -> None:
    """A reference with a typing error in it would be found years later."""
    folder = site.publish({"model.h5": CAT})

    with pytest.raises(ReferenceMissing, match="modle"):
        expand(f"{folder}/modle.h5")


def test_a_name_is_the_path(site: Site) -> None:
    uri = f"{site.publish({'model.h5': CAT})}/model.h5"

    assert ["models/mine.h5"] == [entry.path for entry in expand(uri, name="models/mine.h5")]


def test_without_checksum_there_is_one_entry_and_no_look(site: Site) -> None:
    """Nothing is compared later: what stands there then is what comes."""
    uri = f"{site.publish({'model.h5': CAT})}/model.h5"

    (entry,) = expand(uri, name="m", checksum=False)
    site.change(uri, DOG)

    assert ReferenceEntry("m", uri, uri, None) == entry
    assert DOG == all_of(entry)


def test_a_folder_stands_for_the_files_in_it(site: Site) -> None:
    if not site.has_folders:
        return
    folder = site.publish({"gato.png": b"cat", "perro.png": b"dog", "más/pez.png": b"fish"})

    for uri in (folder, f"{folder}/"):
        entries = expand(uri)
        named = expand(uri, name="imágenes")

        assert ["gato.png", "más/pez.png", "perro.png"] == [entry.path for entry in entries]
        assert [f"imágenes/{entry.path}" for entry in entries] == [entry.path for entry in named]
        assert [b"cat", b"fish", b"dog"] == [all_of(entry) for entry in entries]


def test_a_folder_does_not_stand_for_its_neighbours(site: Site) -> None:
    """`data` is a prefix of `data2/a` as a text, and not as a folder."""
    if not site.has_folders:
        return
    folder = site.publish({"data/a": b"mine", "data2/a": b"not mine", "data.csv": b"not mine"})

    assert ["a"] == [entry.path for entry in expand(f"{folder}/data")]


def test_the_bound_is_exact_and_more_is_an_error(site: Site) -> None:
    """A prefix that was cut short silently would be a data set with holes."""
    if not site.has_folders:
        return
    folder = site.publish({f"{number:02}": b"x" for number in range(7)})

    assert 7 == len(expand(folder, max_objects=7))
    with pytest.raises(Invalid, match="max_objects") as caught:
        expand(folder, max_objects=6)
    assert "too-many-objects" == caught.value.code


def test_a_checkout_has_the_bytes(site: Site, store: Store, tmp_path: Path) -> None:
    folder = site.publish({"a.bin": CAT, "b.bin": DOG})
    entries = [entry for name in ("a.bin", "b.bin") for entry in expand(f"{folder}/{name}", name=f"deep/{name}")]
    store.put([], name="far", type="dataset", references=entries)

    report = store.get("far", tmp_path / "out", fetch=fetch)

    assert (2, 2, []) == (report.fetched, report.written, report.missing)
    assert CAT == (tmp_path / "out" / "deep" / "a.bin").read_bytes()
    assert DOG == (tmp_path / "out" / "deep" / "b.bin").read_bytes()


def test_artstore_urls_give_the_bytes_and_none_of_what_was_changed(site: Site, store: Store) -> None:
    """Who reads through fsspec gets what a checkout has, or an error that is not taken for a missing file."""
    uri = f"{site.publish({'model.h5': CAT})}/model.h5"
    store.put([], name="far", type="model", references=expand(uri))
    fs = ArtstoreFileSystem(store.path, skip_instance_cache=True)
    assert fs.cat_file("far:latest/model.h5") == CAT
    with fs.open("far:latest/model.h5") as file:
        file.seek(1_000_000)
        assert file.read(5) == CAT[1_000_000:1_000_005]

    site.change(uri, DOG)

    if site.keeps_versions:
        assert fs.cat_file("far:latest/model.h5") == CAT
    else:
        with pytest.raises(Corrupt) as refused:
            fs.cat_file("far:latest/model.h5")
        assert "reference-changed" == refused.value.code


def test_a_checkout_shows_nothing_of_what_was_changed(site: Site, store: Store, tmp_path: Path) -> None:
    """Neither under the name nor beside it: a reader must not find bytes that were not recorded."""
    uri = f"{site.publish({'a.bin': CAT})}/a.bin"
    store.put([], name="far", type="dataset", references=expand(uri))
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.bin").write_bytes(b"what was there before")

    site.change(uri, DOG)

    if site.keeps_versions:
        store.get("far", out, fetch=fetch)
        assert [("a.bin", CAT)] == [(file.name, file.read_bytes()) for file in out.iterdir()]
        return
    with pytest.raises(ReferenceChanged):
        store.get("far", out, fetch=fetch)
    assert [("a.bin", b"what was there before")] == [(file.name, file.read_bytes()) for file in out.iterdir()]
    report = store.get("far", out, fetch=fetch, allow_missing=True)
    assert (["a.bin"], 0) == ([skipped.path for skipped in report.missing], report.written)


def test_a_name_that_leads_out_is_refused_before_anything_is_recorded(site: Site) -> None:
    uri = f"{site.publish({'a': b'cat'})}/a"

    with pytest.raises(Invalid):
        expand(uri, name="../a")


def test_errors_of_the_library_do_not_get_through(site: Site) -> None:
    """A caller handles ArtstoreError, not what aiohttp, botocore or azure happen to raise."""
    uri = f"{site.publish({'a': CAT})}/a"
    entry = only(uri)
    site.remove(uri)
    wrong = ReferenceEntry("a", uri, "nonsense", 5, '{"etag":"\\"nonsense\\"","versionID":"nonsense"}')

    for each in (entry, wrong) if not site.keeps_versions else (wrong,):
        with pytest.raises(ArtstoreError):
            all_of(each)


def test_two_objects_for_one_path_are_refused(site: Site, store: Store) -> None:
    folder = site.publish({"a": b"cat", "b": b"dog"})

    with pytest.raises(PathCollision):
        store.put(
            [],
            name="far",
            type="dataset",
            references=[*expand(f"{folder}/a", name="x"), *expand(f"{folder}/b", name="x")],
        )
