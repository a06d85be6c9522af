"""Versions that several nodes make: each has a store of its own, and only a folder or a server is common to them."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from artstore.store import Store
from artstore.sync.connect import connect
from artstore.sync.remotes import add_remote
from artstore.sync.rounds import exchange
from tests.conftest import Children
from tests.lacking import lacking
from tests.sync.serving import ServerProcess

NAME = "artefacto-paralelo"
PATHS = [
    *(f"partes/tabla_{number}.table.json" for number in range(3)),
    "tabla-distribuida.partitioned-table.json",
]
ROWS = [[number, number * 2, 2**number] for number in range(3)]

WORK = """
import os, signal, sys
from pathlib import Path

import artstore as wandb
from artstore.store import Store
from artstore.sync.remotes import add_remote
from artstore.sync.rounds import exchange

NAME, GROUP = "artefacto-paralelo", "the-group"


def own_store(folder, url):
    \"\"\"What a cluster does once on each node.\"\"\"
    os.environ["ARTSTORE_DIR"] = str(folder)
    with Store.init(Path(folder)) as store:
        add_remote(store.path, "hub", url, upstream=True, join=True)
        exchange(store, "pull")


def add_part(number, dies=False):
    with wandb.init(project="demo", group=GROUP, id=f"worker-{number}") as run:
        run.use_artifact("raw:latest")
        artifact = wandb.Artifact(NAME, type="dataset")
        table = wandb.Table(columns=["a", "b", "c"], data=[[number, number * 2, 2**number]])
        artifact.add(table, f"partes/tabla_{number}")
        run.upsert_artifact(artifact).wait()
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)


def finish():
    with wandb.init(project="demo", group=GROUP, id="last") as run:
        artifact = wandb.Artifact(NAME, type="dataset")
        artifact.add(wandb.data_types.PartitionedTable("partes"), "tabla-distribuida")
        return run.finish_artifact(artifact, expect=3).wait()
"""
NODE = f"{WORK}\nown_store(*sys.argv[1:3])\nadd_part(int(sys.argv[3]), dies=sys.argv[4] == 'dies')\n"
FINISHER = f"""{WORK}
own_store(*sys.argv[1:3])
artifact = finish()
print(artifact.version, [list(row) for _, row in artifact.get("tabla-distribuida").iterrows()])
"""


@pytest.fixture(params=["depot", "server"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """What all nodes reach."""
    if request.param == "server":
        with ServerProcess(tmp_path / "server") as server:
            yield server.url
        return
    (tmp_path / "depot").mkdir()
    yield f"file://{tmp_path / 'depot'}"


@contextlib.contextmanager
def observer(folder: Path, url: str) -> Iterator[Store]:
    """One more machine that follows, with `raw`, which all nodes read."""
    with Store.init(folder) as store:
        add_remote(store.path, "hub", url, upstream=True, join=True)
        connect(store)
        (folder.parent / "raw.csv").write_text("a,b\n")
        store.put([folder.parent / "raw.csv"], name="raw", type="dataset", project="demo")
        exchange(store, "push")
        yield store


def check(store: Store) -> None:
    """All of it is there, once, with who made it of what."""
    exchange(store, "pull")
    (version,) = store.versions(NAME, project="demo")
    graph = store.lineage(version.exact)

    assert PATHS == [entry.path for entry in store.entries(version.exact)]
    assert [] == store.parts()
    workers = [f"worker-{number}" for number in range(3)]
    assert {*workers, "last"} == {run.id for run in store.runs(project="demo") if store.outputs(run.id, project="demo")}
    assert [["raw:v0"]] * 3 == [[each.name for each in store.inputs(run, project="demo")] for run in workers]
    assert {"demo/raw:v0", *workers, "last"} <= {node.label for node in graph.nodes}
    assert store.verify().ok


@pytest.mark.usefixtures("unmeasured")
def test_nodes_that_die_after_their_part_was_sent_are_not_missed(children: Children, tmp_path: Path, url: str) -> None:
    """A job's node is gone at any moment, with its disk; what `wait` has returned for is safe elsewhere."""
    with observer(tmp_path / "observer", url) as store:
        nodes = [
            children.start(NODE, tmp_path / f"node-{number}", url, number, "dies" if number else "ends")
            for number in range(3)
        ]
        said = [node.communicate(timeout=120)[1] for node in nodes]
        assert [0, -signal.SIGKILL, -signal.SIGKILL] == [node.returncode for node in nodes], said
        for number in range(3):
            shutil.rmtree(tmp_path / f"node-{number}")

        assert f"v0 {ROWS}" == children.run(FINISHER, tmp_path / "finisher", url)
        check(store)
        assert "finished" == store.run("worker-0", project="demo").state


RAY = (
    WORK
    + """
import ray

url, place = sys.argv[1:]


@ray.remote(max_retries=3)
def train(number):
    tries = len(list(Path(place).glob(f"node-{number}-*")))
    own_store(Path(place) / f"node-{number}-{tries}", url)
    add_part(number, dies=number == 1 and tries == 0)


ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
ray.get([train.remote(number) for number in range(3)])
ray.shutdown()
own_store(Path(place) / "driver", url)
print(finish().version)
"""
)


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_the_workers_of_ray_have_a_store_each_and_make_one_version(
    children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the real Ray. One worker dies after it has sent its part, and Ray runs it again, in a store anew."""
    if find_spec("ray") is None:
        lacking("there is no Ray: pip install artstore[ray]")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    (tmp_path / "depot").mkdir()
    (tmp_path / "place").mkdir()
    url = f"file://{tmp_path / 'depot'}"
    with observer(tmp_path / "observer", url) as store:
        child = children.start(RAY, url, tmp_path / "place")
        said, complaints = child.communicate(timeout=240)

        assert 0 == child.returncode, complaints
        assert "v0" == said.splitlines()[-1]
        assert 5 == len(list((tmp_path / "place").iterdir())), "one of them was run again"
        check(store)
