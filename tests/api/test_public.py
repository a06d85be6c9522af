"""Api: everything of the store, from outside of any run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import artstore as wandb
from artstore.api.paginator import Paginator


def log(name: str, *texts: str, type: str = "dataset", project: str = "demo", **more: object) -> wandb.Artifact:
    for text in texts:
        artifact = wandb.Artifact(name, type)
        with artifact.new_file("a.txt") as file:
            file.write(text)
        with wandb.init(project=project, reinit="create_new") as run:
            run.log_artifact(artifact, **more)  # type: ignore[arg-type]
    return artifact


def facts(artifact: wandb.Artifact) -> tuple[str, str, str | None]:
    return artifact.version, artifact.type, artifact.id


def labels(artifact: wandb.Artifact) -> tuple[list[str], list[str]]:
    return artifact.aliases, artifact.tags


def test_a_version_is_found_by_its_name() -> None:
    log("cats", "1", "2", aliases=["best"])
    api = wandb.Api()

    assert "v1" == api.artifact("demo/cats").version == api.artifact("me/demo/cats:best").version
    assert "v0" == api.artifact("demo/cats:v0", type="dataset").version
    assert "v0" == wandb.Api(overrides={"project": "demo"}).artifact("cats:v0").version
    with pytest.raises(ValueError, match="'dataset', not 'model'"):
        api.artifact("demo/cats", type="model")
    with pytest.raises(wandb.CommError):
        api.artifact("cats")


def test_whether_something_is_there() -> None:
    log("cats", "1")
    api = wandb.Api()

    assert api.artifact_exists("demo/cats:v0")
    assert not api.artifact_exists("demo/cats:v1")
    assert not api.artifact_exists("demo/cats", type="model")
    with pytest.raises(ValueError, match="reference"):
        api.artifact_exists("demo/cats:")
    assert api.artifact_collection_exists("demo/cats", "dataset")
    assert not api.artifact_collection_exists("demo/cats", "model")
    assert not api.artifact_collection_exists("demo/dogs", "dataset")


def test_versions_come_in_either_order_and_by_tags() -> None:
    log("cats", "1", "2", tags=["x"])
    log("cats", "3", tags=["x", "y"])
    api = wandb.Api()

    def versions(**options: object) -> list[str]:
        return [each.version for each in api.artifacts("dataset", "demo/cats", **options)]  # type: ignore[arg-type]

    assert ["v2", "v1", "v0"] == versions() == versions(order="-version_index")
    assert ["v0", "v1", "v2"] == versions(order="version_index") == versions(order="+version_index")
    assert ["v2"] == versions(tags="y") == versions(tags=["x", "y"])
    assert 3 == len(api.artifact_versions("dataset", "demo/cats"))
    with pytest.raises(ValueError, match="order"):
        versions(order="created_at")
    with pytest.raises(wandb.CommError):
        len(api.artifacts("model", "demo/cats"))
    with pytest.raises(wandb.CommError):
        len(api.artifacts("dataset", "demo/dogs"))


def test_collections_and_types_are_listed() -> None:
    log("cats", "1")
    log("dogs", "1")
    log("net", "1", type="model")
    api = wandb.Api()

    assert ["dataset", "model"] == [each.name for each in api.artifact_types("demo")]
    assert ["cats", "dogs", "net"] == [each.name for each in api.artifact_collections("me/demo")]
    assert ["net"] == [each.name for each in api.artifact_collections("demo", type_name="model")]
    dataset = api.artifact_type("dataset", "demo")
    assert ["cats", "dogs"] == [each.name for each in dataset.collections()]
    assert "dogs" == dataset.collection("dogs").name
    assert ("demo/dataset", "<ArtifactType dataset>") == (dataset.id, repr(dataset))
    with pytest.raises(wandb.CommError):
        dataset.collection("net")
    with pytest.raises(wandb.CommError):
        api.artifact_type("result", "demo")
    assert ["demo"] == list(api.projects())


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (None, ["cats", "dogs", "owls"]),
        ("name", ["cats", "dogs", "owls"]),
        ("-name", ["owls", "dogs", "cats"]),
        ("created_at", ["dogs", "owls", "cats"]),
        ("+createdAt", ["dogs", "owls", "cats"]),
        ("-created_at", ["cats", "owls", "dogs"]),
        ("-updated_at", ["owls", "cats", "dogs"]),
    ],
)
def test_collections_come_in_the_order_that_is_asked_for(order: str | None, expected: list[str]) -> None:
    for name, text in [("dogs", "1"), ("owls", "1"), ("cats", "1"), ("owls", "2")]:
        log(name, text)
    api = wandb.Api()

    assert expected == [each.name for each in api.artifact_collections("demo", "dataset", order)]
    assert expected == [each.name for each in api.artifact_type("dataset", "demo").collections(order=order)]
    assert expected[1:] == [each.name for each in api.artifact_collections("demo", order=order, start="1")]


@pytest.mark.parametrize("order", ["", "size", "--name", "+-name", "-+name", "name ", "-"])
def test_an_order_that_is_none_is_a_value_error_at_once(order: str) -> None:
    """In another order than it was asked for, the first one is the wrong one."""
    log("cats", "1")
    for ask in (wandb.Api().artifact_collections, wandb.Api().artifact_type("dataset", "demo").collections):
        with pytest.raises(ValueError, match="order"):
            ask(order=order)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (None, ["cats", "dogs", "owls"]),
        ({}, ["cats", "dogs", "owls"]),
        ({"name": "cats"}, ["cats"]),
        ({"name": {"$ne": "cats"}, "tags": "raw"}, ["owls"]),
        ({"name": {"$in": ["cats", "owls"]}}, ["cats", "owls"]),
        ({"name": {"$nin": ["cats", "owls"]}}, ["dogs"]),
        ({"name": {"$regex": "^.o"}}, ["dogs"]),
        ({"name": {"$contains": "s"}}, ["cats", "dogs", "owls"]),
        ({"name": {"$gt": "cats", "$lte": "dogs"}}, ["dogs"]),
        ({"tag": {"$in": ["done"]}}, ["owls"]),
        ({"tags": {"$ne": "raw"}}, ["dogs"]),
        ({"description": {"$exists": True}}, ["dogs"]),
        ({"$or": [{"name": "cats"}, {"description": "good"}]}, ["cats", "dogs"]),
        ({"$and": [{"tags": "raw"}, {"tags": "done"}]}, ["owls"]),
        ({"$nor": [{"name": "cats"}, {"tags": "done"}]}, ["dogs"]),
        ({"$not": {"name": "cats"}}, ["dogs", "owls"]),
        ({"name": {"$not": {"$regex": "s$"}}}, []),
        ({"created_at": {"$gte": "2020-01-01"}}, ["cats", "dogs", "owls"]),
        ({"createdAt": {"$lt": "2020-01-01T00:00:00Z"}}, []),
        ({"name": {"$gt": 1}}, []),
        ({"name": ["cats"]}, []),
    ],
)
def test_filters_mean_the_collections_that_they_mean_in_wandb(
    filters: dict[str, Any] | None, expected: list[str]
) -> None:
    for name in ("cats", "dogs", "owls"):
        log(name, "1")
    for name, tags, description in [("cats", ["raw"], None), ("dogs", [], "good"), ("owls", ["raw", "done"], None)]:
        collection = wandb.Api().artifact_collection("dataset", f"demo/{name}")
        collection.tags += tags
        collection.description = description
        collection.save()

    assert expected == [each.name for each in wandb.Api().artifact_type("dataset", "demo").collections(filters)]


@pytest.mark.parametrize(
    "filters",
    [
        {"size": 1},
        {"name": {"$near": 1}},
        {"$xor": []},
        {"$or": {}},
        {"$or": []},
        {"name": {"$in": "cats"}},
        {"name": {"$regex": "("}},
        [("name", "cats")],
        {"$not": 1},
    ],
)
def test_what_no_filter_can_say_is_an_error_and_not_everything(filters: Any) -> None:
    """Whoever deletes what a filter means must not be given what it does not."""
    log("cats", "1")
    for ask in (wandb.Api().artifact_type("dataset", "demo").collections, partial(wandb.Api().runs, "demo")):
        with pytest.raises(wandb.Invalid) as caught:
            ask(filters=filters)
        assert caught.value.code in {"bad-filter", "wrong-type"}


def test_runs_are_chosen_and_put_in_order() -> None:
    for number, loss in enumerate([0.5, 0.1, None, "high", 0.3]):
        group, tags = "a" if number % 2 else "b", ["x"] if number == 1 else []
        config = {"loss": loss, "model": {"layers": number}}
        wandb.init(project="demo", id=f"r{number}", name=f"n{number}", group=group, tags=tags, config=config).finish()

    def ids(filters: dict[str, Any] | None = None, order: str | None = None) -> list[str]:
        return [run.id for run in wandb.Api().runs("demo", filters, order)]

    assert ["r4", "r3", "r2", "r1", "r0"] == ids()
    assert ["r0", "r1", "r2", "r3", "r4"] == ids(order="+created_at")
    assert ["r3", "r1"] == ids({"group": "a"})
    assert ["r4", "r1"] == ids({"config.loss": {"$lt": 0.5}})
    assert ["r4"] == ids({"config.model.layers": 4, "state": "finished"})
    assert ["r1"] == ids({"tags": {"$in": ["x"]}})
    assert ["r2"] == ids({"$or": [{"display_name": "n2"}, {"name": "n3"}]})
    assert ["r1", "r4", "r0", "r3", "r2"] == ids(order="config.loss"), "numbers, texts, then what has none"
    assert ["r3", "r0", "r4", "r1", "r2"] == ids(order="-config.loss")
    for order in ("size", "config", ""):
        with pytest.raises(ValueError, match="field"):
            ids(order=order)


def test_a_collection_says_what_it_is() -> None:
    log("cats", "1", "2", aliases=["best"])
    collection = wandb.Api().artifact_collection("dataset", "demo/cats")

    assert ("cats", "dataset", "demo", "local") == (
        collection.name,
        collection.type,
        collection.project,
        collection.entity,
    )
    assert ["best", "latest"] == sorted(collection.aliases)
    assert ["v1", "v0"] == [each.version for each in collection.artifacts()]
    assert (True, "demo/cats") == (collection.is_sequence(), collection.id)
    assert collection.created_at <= collection.updated_at
    assert "<ArtifactCollection cats (dataset)>" == repr(collection)
    assert "cats" == wandb.Api().artifact("demo/cats").collection.name


def test_a_collection_changes_with_save_and_its_versions_keep_their_numbers() -> None:
    old = log("cats", "1", aliases=["best"])
    collection = wandb.Api().artifact_collection("dataset", "demo/cats")
    collection.name, collection.type, collection.description = "felines", "images", "all of them"
    collection.tags.append("furry")
    collection.save()
    seen = wandb.Api().artifact_collection("images", "demo/felines")

    assert ("all of them", ["furry"]) == (seen.description, seen.tags)
    assert ("v0", "images", old.id) == facts(wandb.Api().artifact("demo/felines:best"))
    collection.tags.clear()
    collection.change_type("pictures")
    seen = wandb.Api().artifact_collection("pictures", "demo/felines")
    assert [] == seen.tags
    with pytest.raises(ValueError, match="name"):
        collection.name = "a b"
    seen.delete()
    assert not wandb.Api().artifact_exists("demo/felines:v0")


def test_runs_say_what_they_made_and_used() -> None:
    log("cats", "1")
    with wandb.init(project="demo", group="g") as run:
        run.use_artifact("cats")
    api = wandb.Api()
    seen = api.run(f"me/demo/{run.id}")

    assert ["cats:v0"] == [each.name for each in seen.used_artifacts()]
    assert [] == list(seen.logged_artifacts())
    assert (["local", "demo", run.id], run.id) == (seen.path, seen.display_name)
    assert [run.id] == [each.id for each in api.runs("demo") if each.group == "g"]
    assert 2 == len(api.runs())
    with pytest.raises(wandb.CommError):
        api.run("demo/nothing")
    with pytest.raises(ValueError, match="path"):
        api.run("a/b/c/d")


def test_a_run_of_the_past_may_be_given_artifacts() -> None:
    cats = log("cats", "1")
    other = log("dogs", "1", project="other")
    with wandb.init(project="demo") as run:
        pass
    seen = wandb.Api().run(f"demo/{run.id}")
    seen.use_artifact(other, use_as="input")
    answer = seen.log_artifact(cats, aliases=["late"], tags="t")

    assert (["late", "latest"], ["t"]) == labels(answer)
    assert ["dogs:v0"] == [each.name for each in seen.used_artifacts()]
    assert ["cats:v0"] == [each.name for each in seen.logged_artifacts()]
    assert (["late", "latest"], ["t"]) == labels(wandb.Api().artifact("demo/cats"))
    with pytest.raises(ValueError, match=r"'other'.*'demo'"):
        seen.log_artifact(other)
    with pytest.raises(ValueError, match="draft"):
        seen.use_artifact(wandb.Artifact("new", "dataset"))


def test_what_is_in_hand_is_logged_under_the_name_that_it_has_by_now() -> None:
    """Somebody renames a collection while a script has a version of it; no second one of the old name appears."""
    cats = log("cats", "1")
    with wandb.init(project="demo") as before:
        pass
    collection = wandb.Api().artifact_collection("dataset", "demo/cats")
    collection.name = "felines"
    collection.save()
    seen = wandb.Api().run(f"demo/{before.id}")
    seen.use_artifact(cats)
    seen.log_artifact(cats, aliases=["first"])
    with wandb.init(project="demo") as run:
        run.log_artifact(cats, aliases=["second"]).wait()
        draft = cats.new_draft()
        with draft.new_file("b.txt") as file:
            file.write("more")
        run.log_artifact(draft).wait()

    assert ["felines:v0"] == [each.name for each in seen.logged_artifacts()]
    assert ["felines:v0", "felines:v1"] == [each.name for each in run.logged_artifacts()]
    assert ["felines"] == [each.name for each in wandb.Api().artifact_type("dataset", "demo").collections()]
    assert {"first", "second"} <= set(wandb.Api().artifact("demo/felines:v0").aliases)


@pytest.mark.parametrize(
    "call",
    [
        lambda api: api.artifact(None),
        lambda api: api.artifact_exists(5),
        lambda api: api.artifacts("dataset", None),
        lambda api: api.artifact_collection("dataset", b"cats"),
        lambda api: api.artifact_type(None),
        lambda api: api.run(None),
        lambda api: api.runs(5),
    ],
    ids=["artifact", "exists", "artifacts", "collection", "type", "run", "runs"],
)
def test_what_is_no_name_is_a_type_error_that_says_what_to_give(call: Callable[[wandb.Api], object]) -> None:
    """It would end in a traceback from somewhere below, or look for a type named None."""
    with pytest.raises(TypeError, match=r" is (None|5|b'cats'): give text"):
        call(wandb.Api())


def test_a_paginator_asks_when_it_is_looked_at_and_once() -> None:
    asked = []

    def load() -> list[int]:
        asked.append(1)
        return list(range(7))

    pages = Paginator(load, per_page=3)
    assert ([], None) == (asked, pages.cursor)
    assert (7, 0, 6, [1, 2]) == (len(pages), pages[0], pages[-1], pages[1:3])
    assert [1] == asked
    again = Paginator(load, per_page=3)
    iterator = iter(again)
    for _ in range(4):
        next(iterator)

    assert ("6", True) == (again.cursor, again.more)
    assert [6] == list(Paginator(load, per_page=3, start=again.cursor))


@pytest.mark.parametrize("options", [{"per_page": 0}, {"start": "x"}])
def test_a_page_that_is_none_is_a_value_error(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"page|cursor"):
        Paginator(list, **options)  # type: ignore[arg-type]


def test_a_list_answers_one_after_the_other_to_next() -> None:
    """`next(api.artifacts(...))` is how scripts take the newest."""
    log("cats", "1", "2")
    found = wandb.Api().artifacts("dataset", "demo/cats")

    assert ["v1", "v0", None] == [getattr(next(found, None), "version", None) for _ in range(3)]
    assert ["v1", "v0"] == [each.version for each in found]
