"""The libraries of the Python data world, on `artstore://` as their users write it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pytest

from artstore.filesystem import ArtstoreFileSystem
from artstore.store import Store
from tests.lacking import package

FRAME = pd.DataFrame({"number": range(1000), "half": [number / 2 for number in range(1000)], "group": ["x", "y"] * 500})
ROWS = len(FRAME)


@pytest.fixture(autouse=True)
def found(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is found without being named."""
    monkeypatch.setenv("ARTSTORE_DIR", str(store.path))


def count(store: Store, name: str = "data") -> int:
    return len(store.versions(name))


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet", "json", "pickle"])
def test_pandas_writes_and_reads(store: Store, kind: str) -> None:
    url = f"artstore://data:latest/frame.{kind}"
    name = kind.partition(".")[0]
    index = {"index": False} if name == "csv" else {}
    getattr(FRAME, f"to_{name}")(url, **index)

    found = getattr(pd, f"read_{name}")(url)
    assert found.equals(FRAME)
    assert count(store) == 1
    with pytest.raises(FileNotFoundError):
        getattr(pd, f"read_{name}")(f"artstore://data:latest/none.{kind}")


class Unwritable:
    def __str__(self) -> str:
        raise RuntimeError


def test_a_frame_that_cannot_be_written_leaves_nothing(fs: ArtstoreFileSystem) -> None:
    """pandas has written most of it by then."""
    frame = pd.DataFrame({"a": [*range(100_000), Unwritable()]}, dtype=object)
    with pytest.raises(RuntimeError):
        frame.to_csv("artstore://data:latest/frame.csv")

    assert not fs.exists("data:latest")


def test_pyarrow_reads_and_writes_datasets(store: Store, fs: ArtstoreFileSystem) -> None:
    pa = package("pyarrow")
    dataset = package("pyarrow.dataset")
    parquet = package("pyarrow.parquet")
    with fs.transaction:
        dataset.write_dataset(
            pa.Table.from_pandas(FRAME), "data:latest/parts", format="parquet", partitioning=["group"], filesystem=fs
        )
    assert count(store) == 1

    found = dataset.dataset("data:latest/parts", filesystem=fs, partitioning=["group"])
    assert found.count_rows() == ROWS
    assert found.to_table(filter=dataset.field("group") == "x").num_rows == ROWS / 2
    assert dataset.dataset("fsspec+artstore://data:latest/parts").count_rows() == ROWS
    assert parquet.read_table("data:v0/parts/x/part-0.parquet", filesystem=fs).num_rows == ROWS / 2


def test_polars_reads_and_writes(store: Store, fs: ArtstoreFileSystem) -> None:
    pl = package("polars")
    dataset = package("pyarrow.dataset")
    with fs.open("data:latest/frame.parquet", "wb") as file:
        pl.from_pandas(FRAME).write_parquet(file)

    with fs.open("data:latest/frame.parquet") as file:
        assert pl.read_parquet(file).height == ROWS
    lazy = pl.scan_pyarrow_dataset(dataset.dataset("data:latest/frame.parquet", filesystem=fs))
    assert lazy.filter(pl.col("number") < 10).collect()["half"].to_list() == [number / 2 for number in range(10)]
    assert count(store) == 1


def test_zarr_writes_one_version_and_reads_parts(store: Store, fs: ArtstoreFileSystem) -> None:
    zarr = package("zarr")
    with fs.transaction:
        array = zarr.create_array(fs.get_mapper("data:latest/a.zarr"), shape=(60, 40), chunks=(10, 40), dtype="f4")
        array[:] = 1
        array[5, 5] = 7
    assert count(store) == 1

    found = zarr.open_array("artstore://data:latest/a.zarr", mode="r")
    assert (found[5, 4:7] == [1, 7, 1]).all()
    assert found[:].sum() == 60 * 40 + 6
    with fs.transaction:
        zarr.open_array(fs.get_mapper("data:latest/a.zarr"), mode="r+")[50:] = 2
    assert zarr.open_array("artstore://data:latest/a.zarr", mode="r")[:].sum() == 50 * 40 + 6 + 2 * 10 * 40
    assert zarr.open_array("artstore://data:v0/a.zarr", mode="r")[:].sum() == 60 * 40 + 6


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # In dask's own code.
def test_dask_reads_and_writes(store: Store, fs: ArtstoreFileSystem) -> None:
    dd = package("dask.dataframe")
    FRAME.to_csv("artstore://data:latest/1.csv", index=False)
    FRAME.to_csv("artstore://data:latest/2.csv", index=False)
    assert len(dd.read_csv("artstore://data:latest/*.csv")) == 2 * ROWS

    with fs.transaction:
        dd.from_pandas(FRAME, npartitions=4).to_parquet("data:latest/parts", filesystem=fs)
    assert len(dd.read_parquet("artstore://data:latest/parts")) == ROWS
    assert count(store) == 3


def test_datasets_of_hugging_face_are_read_and_written(store: Store, tmp_path: Path) -> None:
    """It keeps what it has read, by the URL alone unless it is told to ask: then it sees that an alias has moved."""
    datasets = package("datasets")
    datasets.disable_progress_bars()
    fs = fsspec.filesystem("artstore")
    cache = str(tmp_path / "cache")
    with fs.transaction:
        for part in range(2):
            FRAME.to_csv(f"artstore://data:latest/train/{part}.csv", index=False)
            FRAME.to_parquet(f"artstore://data:latest/{part}.parquet")

    def read() -> Any:
        where = "artstore://data:latest/train/*.csv"
        asking = datasets.DownloadConfig(cache_dir=cache, use_etag=True)
        return datasets.load_dataset("csv", data_files=where, split="train", cache_dir=cache, download_config=asking)

    assert 2 * ROWS == len(read())
    streamed = datasets.load_dataset(
        "parquet", data_files="artstore://data:v0/*.parquet", split="train", streaming=True, cache_dir=cache
    )
    assert 2 * ROWS == sum(1 for _ in streamed)
    FRAME[:10].to_csv("artstore://data:latest/train/0.csv", index=False)
    assert ROWS + 10 == len(read())
    with fs.transaction:
        read().save_to_disk("artstore://prepared:latest/tokens")
    assert 1 == count(store, "prepared")
    assert read()[5] == datasets.load_from_disk("artstore://prepared:v0/tokens")[5]


def test_numpy_archives_are_written_and_mapped(fs: ArtstoreFileSystem) -> None:
    array = np.arange(400_000).reshape(400, 1000)
    with fs.open("data:latest/a.npz", "wb") as file:
        np.savez(file, array=array, other=array[:3])

    with fsspec.open("artstore://data:latest/a.npz") as file, np.load(file) as archive:
        assert (archive["array"] == array).all()
        assert (archive["other"] == array[:3]).all()


class Images:
    """A dataset as PyTorch has them: `__len__` and `__getitem__`, sent to each worker."""

    def __init__(self, url: str, **options: Any) -> None:
        self.fs, folder = fsspec.url_to_fs(url, **options)
        self.paths = self.fs.find(folder)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[int, bytes]:
        return int(self.paths[index].rpartition("/")[2]), self.fs.cat_file(self.paths[index])


def _batch(arguments: tuple[Images, list[int]]) -> list[tuple[int, bytes]]:
    images, indices = arguments
    return [images[index] for index in indices]


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_data_loader_trains_from_packs_without_a_checkout(
    store: Store, tmp_path: Path, put: Callable[..., None], method: Any
) -> None:
    """Shuffled, in worker processes, two epochs; the version that training began with stays the one it reads."""
    import multiprocessing  # noqa: PLC0415

    files = {f"train/{number % 7}/{number}": random.Random(number).randbytes(900) for number in range(500)}
    put(files, name="images")
    images = Images("artstore://images:v0/train")
    assert images[0][1] in files.values()
    put({"train/0/0": b"other"}, name="images")
    indices = list(range(len(images)))

    with multiprocessing.get_context(method).Pool(2) as workers:
        for epoch in range(2):
            random.Random(epoch).shuffle(indices)
            batches = [(images, indices[start : start + 32]) for start in range(0, len(indices), 32)]
            seen = [sample for batch in workers.imap(_batch, batches) for sample in batch]
            assert len(seen) == len(files)
            assert dict(seen) == {int(path.rpartition("/")[2]): data for path, data in files.items()}
    assert not (tmp_path / "artifacts").exists()
    assert store.version("images").number == 1
