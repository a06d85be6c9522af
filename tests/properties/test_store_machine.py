"""The whole store against dictionaries: whatever is done to it, in whatever order, they agree.

Each example is a store of its own with some dozens of steps; among them are those that a user meets once a year: a lost
catalog, a flipped byte, a missing file of the log. `pytest --hypothesis-profile=explore` looks twenty times as long, at
other examples each time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from artstore import Store
from artstore.errors import Conflict, Corrupt, Invalid, NotFound, PathCollision
from artstore.lifecycle.compact import compact
from artstore.storage import stat_cache
from tests.properties.model import (
    LARGE,
    Files,
    Model,
    Pointer,
    Run,
    Version,
    check_bytes,
    check_entries,
    check_everything,
    check_fold,
    check_state,
    content,
    nothing_is_left_over,
    stored_bytes,
    unique_live_bytes,
)

pytestmark = pytest.mark.slow

PROJECTS = st.sampled_from(["p", "q"])
NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.sampled_from(["f", "g", "h", "d/f", "d/e/f", "ä", "n/m"])
CONTENTS = st.one_of(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(LARGE, LARGE + 3))
CHANGES = st.dictionaries(PATHS, st.one_of(CONTENTS, st.none()), max_size=4)
ALIASES = st.sampled_from(["best", "prod"])
TAGS = st.sampled_from(["red", "blue"])
METADATA = st.dictionaries(st.sampled_from(["loss", "epoch"]), st.integers(-3, 3), max_size=2)
RUNS = st.sampled_from(["r", "s"])
TEXTS = st.one_of(st.none(), st.sampled_from(["", "one", "zwei ü"]))
TTLS = st.sampled_from([None, 1e-6, 1e6])
PICKS = st.integers(0, 1 << 16)


class StoreMachine(RuleBasedStateMachine):
    """A store and the dictionaries that it has to agree with."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="artstore-machine-"))
        self.pool = self.folder / "pool"
        self.pool.mkdir()
        self.store = Store.init(self.folder / "store")
        self.model = Model()
        self.numbers: set[int] = set()
        self.patch = pytest.MonkeyPatch()
        # Files are hashed as soon as they are written here; the cache is to be relied on all the same.
        self.patch.setattr(stat_cache, "MARGIN_NS", 0)

    def teardown(self) -> None:
        try:
            check_everything(self.store, self.model)
            self.store.gc(grace_s=0)
            self.store.gc(grace_s=0)
            report = self.store.verify()
            assert (True, []) == (report.ok, report.problems)
            assert unique_live_bytes(self.model) == stored_bytes(self.store)
            nothing_is_left_over(self.store)
            self.store.close()
            Store.rebuild(self.folder / "store")
            self.store = Store.open(self.folder / "store")
            check_everything(self.store, self.model)
        finally:
            self.patch.undo()
            self.store.close()
            shutil.rmtree(self.folder)

    # What is said about the store after each step.

    @invariant()
    def the_state_is_the_models(self) -> None:
        check_state(self.store, self.model)

    @invariant()
    def each_version_has_its_entries(self) -> None:
        check_entries(self.store, self.model)

    @invariant()
    def the_catalog_is_the_fold_of_the_log(self) -> None:
        check_fold(self.store)

    # Steps.

    @initialize(files=st.dictionaries(PATHS, CONTENTS, min_size=1, max_size=5))
    def begin_with_a_version(self, files: Files) -> None:
        self._put("p", "a", "t", files)

    @rule(
        project=PROJECTS,
        name=NAMES,
        changes=CHANGES,
        aliases=st.lists(ALIASES, max_size=2),
        metadata=METADATA,
        description=TEXTS,
        ttl_s=TTLS,
    )
    def put_changed_files(
        self,
        *,
        project: str,
        name: str,
        changes: dict[str, int | None],
        aliases: list[str],
        metadata: dict[str, Any],
        description: str | None,
        ttl_s: float | None,
    ) -> None:
        collection = self.model.collection(project, name)
        latest = None if collection is None else collection.latest
        files = _changed({} if latest is None else latest.files, changes)
        if files:
            kind = "t" if collection is None else collection.type
            self._put(
                project, name, kind, files, aliases=aliases, metadata=metadata, description=description, ttl_s=ttl_s
            )

    @rule(pick=PICKS, project=PROJECTS, name=NAMES)
    def put_what_another_version_has(self, pick: int, project: str, name: str) -> None:
        if (chosen := self._pick(pick)) is not None:
            collection = self.model.collection(project, name)
            kind = "u" if collection is None else collection.type
            self._put(project, name, kind, chosen[2].files)

    @rule(pick=PICKS, changes=CHANGES)
    def draft_on_another_version(self, pick: int, changes: dict[str, int | None]) -> None:
        """A draft takes over entries, removes some, and adds others from memory."""
        if (chosen := self._pick(pick)) is None:
            return
        project, name, version = chosen
        changed = _changed(version.files, changes)
        # What is taken over stays what it is, a pointer too.
        files = {path: version.files[path] if version.files.get(path) == n else n for path, n in changed.items()}
        if not files:
            return
        collection = self.model.collection(project, name)
        assert collection is not None
        with self.store.draft() as draft:
            resolved = self.store._resolve(f"{project}/{name}:v{version.number}", project)
            for entry in self.store._root.manifests.entries(resolved.manifest):
                draft.add_entry(entry)
            for path in [path for path, number in version.files.items() if files.get(path) != number]:
                draft.remove(path)
            for path, number in files.items():
                if version.files.get(path) != number:
                    draft.add_file(self._pooled(number), path)
            self.store.commit(draft, name=name, type=collection.type, project=project)
        self.model.put(project, name, collection.type, files)

    @rule(pick=PICKS, project=PROJECTS, name=NAMES, others=st.dictionaries(PATHS, CONTENTS, max_size=2))
    def point_to_another_version(self, pick: int, project: str, name: str, others: Files) -> None:
        """Some files of a version that are said to be those of another one, beside some of its own."""
        if (chosen := self._pick(pick)) is None:
            return
        from_project, from_name, source = chosen
        there = self.model.collection(project, name)
        kind = "t" if there is None else there.type
        reference = f"{from_project}/{from_name}:v{source.number}"
        id_ = self.store.version(reference).id
        files: Files = {}
        with self.store.draft() as draft:
            for path, number in sorted(source.files.items())[:2]:
                draft.add_link(reference, path)
                files[path] = number if isinstance(number, Pointer) else Pointer.make(number, f"{id_}/{path}")
            for path, number in others.items():
                if path not in files and _fits(path, files):
                    draft.add_file(self._pooled(number), path)
                    files[path] = number
            self.store.commit(draft, name=name, type=kind, project=project)
        self.model.put(project, name, kind, files)

    @rule(project=PROJECTS, name=NAMES)
    def put_as_another_type(self, project: str, name: str) -> None:
        """A name that stands for data sets does not come to stand for models by mistake."""
        if self.model.collection(project, name) is None:
            return
        with pytest.raises(Invalid, match="type"):
            self.store.put([self._pooled(1)], name=name, type="other", project=project)

    @rule(pick=PICKS, aliases=st.lists(ALIASES, min_size=1, max_size=2))
    def alias(self, pick: int, aliases: list[str]) -> None:
        if (chosen := self._pick(pick)) is not None:
            project, name, version = chosen
            self.store.alias(f"{project}/{name}:v{version.number}", aliases)
            self.model.projects[project][name].aliases.update(dict.fromkeys(aliases, version))

    @rule(pick=PICKS, alias=ALIASES)
    def unalias(self, pick: int, alias: str) -> None:
        if (chosen := self._pick(pick)) is not None:
            project, name, version = chosen
            collection = self.model.projects[project][name]
            reference = f"{project}/{name}:v{version.number}"
            if collection.aliases.get(alias) is version:
                self.store.unalias(reference, [alias])
                del collection.aliases[alias]
            else:
                with pytest.raises(NotFound):
                    self.store.unalias(reference, [alias])

    @rule(pick=PICKS, tag=TAGS)
    def tag_or_untag(self, pick: int, tag: str) -> None:
        if (chosen := self._pick(pick)) is not None:
            project, name, version = chosen
            reference = f"{project}/{name}:v{version.number}"
            (self.store.untag if tag in version.tags else self.store.tag)(reference, [tag])
            version.tags ^= {tag}

    @rule(pick=PICKS, text=TEXTS)
    def describe_a_version(self, pick: int, text: str | None) -> None:
        if (chosen := self._pick(pick)) is not None:
            project, name, version = chosen
            self.store.describe(f"{project}/{name}:v{version.number}", text)
            version.description = text

    @rule(project=PROJECTS, name=NAMES, text=TEXTS)
    def describe_a_collection(self, project: str, name: str, text: str | None) -> None:
        if (collection := self.model.collection(project, name)) is not None:
            self.store.describe(f"{project}/{name}", text)
            collection.description = text

    @rule(pick=PICKS, values=METADATA, remove=st.sampled_from(["loss", "epoch"]))
    def edit_metadata(self, pick: int, values: dict[str, Any], remove: str) -> None:
        if (chosen := self._pick(pick)) is not None:
            project, name, version = chosen
            gone = [remove] if remove in version.metadata and remove not in values else []
            self.store.set_metadata(f"{project}/{name}:v{version.number}", values, remove=gone)
            version.metadata = {k: v for k, v in version.metadata.items() if k not in gone} | values

    @rule(pick=PICKS, ttl_s=TTLS)
    def set_ttl(self, pick: int, ttl_s: float | None) -> None:
        if (chosen := self._pick(pick)) is not None:
            project, name, version = chosen
            self.store.set_ttl(f"{project}/{name}:v{version.number}", ttl_s)
            version.ttl_s = ttl_s

    @rule(project=PROJECTS, name=NAMES, new_name=st.sampled_from(["a", "b", "c", "d"]))
    def rename(self, project: str, name: str, new_name: str) -> None:
        collection = self.model.collection(project, name)
        if collection is None:
            return
        if new_name != name and self.model.collection(project, new_name) is not None:
            with pytest.raises(Conflict):
                self.store.rename(name, new_name, project=project)
            return
        self.store.rename(name, new_name, project=project)
        named = self.model.projects[project]
        named[new_name] = named.pop(name)

    @rule(project=PROJECTS, name=NAMES, type=st.sampled_from(["t", "u"]))
    def retype(self, project: str, name: str, type: str) -> None:
        if (collection := self.model.collection(project, name)) is not None:
            self.store.retype(name, type, project=project)
            collection.type = type

    @rule(project=PROJECTS, name=NAMES, tag=TAGS)
    def tag_or_untag_a_collection(self, project: str, name: str, tag: str) -> None:
        if (collection := self.model.collection(project, name)) is not None:
            is_there = tag in collection.tags
            verb = self.store.untag_collection if is_there else self.store.tag_collection
            verb(name, [tag], project=project)
            collection.tags ^= {tag}

    @rule(project=PROJECTS, name=NAMES, pick=st.integers(0, 3), force=st.booleans())
    def delete_a_collection(self, project: str, name: str, pick: int, force: bool) -> None:
        """Now and then: what is gone, the other rules can do nothing with."""
        collection = self.model.collection(project, name)
        if collection is None or pick:
            return
        if (collection.aliases or any(map(self.model.is_linked, collection.live))) and not force:
            with pytest.raises(Conflict):
                self.store.delete_collection(name, project=project)
            return
        self.store.delete_collection(name, project=project, force=force)
        self.model.delete_collection(project, name)

    @rule(project=PROJECTS, name=NAMES, files=st.dictionaries(PATHS, CONTENTS, min_size=1, max_size=3))
    def add_a_part(self, project: str, name: str, files: Files) -> None:
        collection = self.model.collection(project, name)
        parts = self.model.parts.get((project, name), [])
        kind = parts[0][0] if parts else "t" if collection is None else collection.type
        with self.store.draft() as draft:
            for path, number in files.items():
                if _fits(path, draft.entries):
                    draft.add_file(self._pooled(number), path)
            taken = {path: number for path, number in files.items() if path in draft.entries}
            said: dict[str, Any] = {"name": name, "type": kind, "project": project, "distributed_id": "d"}
            if collection is not None and collection.type != kind:
                with pytest.raises(Invalid):
                    self.store.add_part(draft, **said)
                return
            self.store.add_part(draft, **said)
        self.model.parts.setdefault((project, name), []).append((kind, taken))

    @precondition(lambda self: self.model.parts)
    @rule(pick=PICKS, drop=st.booleans())
    def finish_or_drop_parts(self, pick: int, drop: bool) -> None:
        parts = sorted(self.model.parts)
        project, name = parts[pick % len(parts)]
        kind = self.model.parts[project, name][0][0]
        collection = self.model.collection(project, name)
        said: dict[str, Any] = {"name": name, "type": kind, "project": project, "distributed_id": "d"}
        files = self.model.union(project, name)
        if not drop and files is not None and all(_fits(path, files) for path in files):
            if collection is not None and collection.type != kind:
                with pytest.raises(Invalid):
                    self.store.finish_parts(**said)
                return
            info = self.store.finish_parts(**said)
            version, _made = self.model.put(project, name, kind, files)
            assert version.number == info.number
        else:
            if not drop:
                with pytest.raises(PathCollision):
                    self.store.finish_parts(**said)
            self.store.drop_parts(name, project=project, distributed_id="d")
        del self.model.parts[project, name]

    @rule(pick=PICKS, project=PROJECTS, aliases=st.lists(ALIASES, max_size=2, unique=True))
    def link(self, pick: int, project: str, aliases: list[str]) -> None:
        if (chosen := self._pick(pick)) is None:
            return
        from_project, name, version = chosen
        kind = self.model.projects[from_project][name].type
        reference = f"{from_project}/{name}:v{version.number}"
        there = self.model.portfolios.get(project)
        if there is not None and there.type != kind:
            with pytest.raises(Invalid):
                self.store.link(reference, f"{project}/best", aliases=aliases)
            return
        self.store.link(reference, f"{project}/best", aliases=aliases)
        self.model.link(project, kind, version, aliases)

    @rule(pick=PICKS, project=PROJECTS)
    def unlink(self, pick: int, project: str) -> None:
        portfolio = self.model.portfolios.get(project)
        if portfolio is not None and portfolio.links:
            version, (number, _logged) = list(portfolio.links.items())[pick % len(portfolio.links)]
            self.store.unlink(f"{project}/best:v{number}")
            portfolio.unlink(version)

    @rule(pick=PICKS, project=PROJECTS, alias=ALIASES)
    def alias_a_link(self, pick: int, project: str, alias: str) -> None:
        portfolio = self.model.portfolios.get(project)
        if portfolio is not None and portfolio.links:
            version, (number, _logged) = list(portfolio.links.items())[pick % len(portfolio.links)]
            self.store.alias(f"{project}/best:v{number}", [alias])
            portfolio.aliases[alias] = version

    @rule(project=PROJECTS, pick=st.integers(0, 3))
    def delete_a_portfolio(self, project: str, pick: int) -> None:
        portfolio = self.model.portfolios.get(project)
        if portfolio is not None and not pick:
            self.store.delete_collection("best", project=project, force=True)
            del self.model.portfolios[project]

    @rule(pick=PICKS, project=PROJECTS, name=NAMES)
    def copy(self, pick: int, project: str, name: str) -> None:
        if (chosen := self._pick(pick)) is None:
            return
        from_project, from_name, version = chosen
        kind = self.model.projects[from_project][from_name].type
        there = self.model.collection(project, name)
        reference = f"{from_project}/{from_name}:v{version.number}"
        if there is not None and there.type != kind:
            with pytest.raises(Invalid):
                self.store.copy(reference, f"{project}/{name}")
            return
        before = stored_bytes(self.store)
        info = self.store.copy(reference, f"{project}/{name}")
        copied, _made = self.model.put(
            project,
            name,
            kind,
            version.files,
            metadata=version.metadata,
            description=version.description,
            ttl_s=version.ttl_s,
        )
        assert (copied.number, before) == (info.number, stored_bytes(self.store))

    @rule(run=RUNS, config=METADATA, notes=TEXTS, tags=st.lists(TAGS, max_size=2, unique=True))
    def start_a_run(self, run: str, config: dict[str, Any], notes: str | None, tags: list[str]) -> None:
        self.store.start_run(project="p", id=run, config=config, notes=notes, tags=tags)
        there = self.model.runs.setdefault(run, Run({}))
        there.config.update(config)
        there.notes = there.notes if notes is None else notes
        there.tags = tags or there.tags
        there.state = "running"

    @precondition(lambda self: self.model.runs)
    @rule(pick=PICKS, config=METADATA, notes=TEXTS, remove=st.sampled_from(["loss", "epoch"]))
    def edit_a_run(self, pick: int, config: dict[str, Any], notes: str | None, remove: str) -> None:
        run, there = self._pick_run(pick)
        gone = [remove] if remove in there.config and remove not in config else []
        self.store.edit_run(run, project="p", config=config, remove=gone, notes=notes)
        there.config = {key: value for key, value in there.config.items() if key not in gone} | config
        there.notes = there.notes if notes is None else notes

    @precondition(lambda self: self.model.runs)
    @rule(pick=PICKS, state=st.sampled_from(["finished", "crashed"]))
    def finish_a_run(self, pick: int, state: Literal["finished", "crashed"]) -> None:
        run, there = self._pick_run(pick)
        self.store.finish_run(run, project="p", state=state)
        there.state = state

    @precondition(lambda self: self.model.runs)
    @rule(pick=PICKS, pick_run=PICKS)
    def use_in_a_run(self, pick: int, pick_run: int) -> None:
        if (chosen := self._pick(pick)) is not None:
            project, name, version = chosen
            run, there = self._pick_run(pick_run)
            self.store.use(run, f"{project}/{name}:v{version.number}", project="p")
            if version not in there.inputs:
                there.inputs.append(version)
            version.used = True

    @precondition(lambda self: self.model.runs)
    @rule(pick_run=PICKS, name=NAMES, changes=CHANGES)
    def put_in_a_run(self, pick_run: int, name: str, changes: dict[str, int | None]) -> None:
        collection = self.model.collection("p", name)
        latest = None if collection is None else collection.latest
        files = _changed({} if latest is None else latest.files, changes)
        if files:
            kind = "t" if collection is None else collection.type
            self._put("p", name, kind, files, run=self._pick_run(pick_run)[0])

    @rule(pick=PICKS, force=st.booleans())
    def delete(self, pick: int, force: bool) -> None:
        if (chosen := self._pick(pick)) is None:
            return
        project, name, version = chosen
        collection = self.model.projects[project][name]
        reference = f"{project}/{name}:v{version.number}"
        if (collection.aliases_of(version) or self.model.is_linked(version)) and not force:
            with pytest.raises(Conflict):
                self.store.delete(reference)
            return
        self.store.delete(reference, force=force)
        self.model.delete(collection, version)

    @rule(
        project=PROJECTS,
        name=NAMES,
        keep_last=st.one_of(st.none(), st.integers(0, 3)),
        keep_best=st.lists(
            st.tuples(st.sampled_from(["loss", "epoch"]), st.sampled_from(["max", "min"]), st.integers(0, 2)),
            max_size=1,
        ),
        keep_within_s=st.sampled_from([None, None, 0.0, 1e6]),
        dry_run=st.booleans(),
    )
    def prune(
        self,
        *,
        project: str,
        name: str,
        keep_last: int | None,
        keep_best: list[Any],
        keep_within_s: float | None,
        dry_run: bool,
    ) -> None:
        collection = self.model.collection(project, name)
        if collection is None:
            return
        for key, _order, _count in keep_best:
            if collection.live and not any(key in version.metadata for version in collection.live):
                with pytest.raises(Invalid):
                    self.store.prune([name], keep_best=keep_best, dry_run=dry_run, project=project)
                return
        report = self.store.prune(
            [name],
            keep_last=keep_last,
            keep_best=keep_best,
            keep_within_s=keep_within_s,
            dry_run=dry_run,
            project=project,
        )
        found = {int(each.ref.rpartition(":v")[2]) for each in report.deleted}
        if not dry_run:
            before = unique_live_bytes(self.model)
            gone = self.model.prune(collection, keep_last=keep_last, keep_best=keep_best, keep_within_s=keep_within_s)
            assert (gone, before - unique_live_bytes(self.model)) == (found, report.freeable_bytes)

    @rule()
    def gc_at_once(self) -> None:
        self.store.gc(grace_s=0)
        check_bytes(self.store, self.model)

    @rule(dry_run=st.booleans())
    def gc_to_the_trash(self, dry_run: bool) -> None:
        self.store.gc(dry_run=dry_run)
        check_bytes(self.store, self.model)

    @rule(project=PROJECTS)
    def compact(self, project: str) -> None:
        """What compaction puts together stays the same bytes in the chain."""
        root = self.store._root
        row = root.catalog.project(project)
        if row is None:
            return
        before = [(seq, data) for seq, data, _ in root.log.transactions(project, 0)]
        with root.session("compact") as session:
            compact(root, session, row, least=2)

        assert before == [(seq, data) for seq, data, _ in root.log.transactions(project, 0)]

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store.open(self.folder / "store")

    @rule()
    def rebuild_without_a_catalog(self) -> None:
        self.store.close()
        for path in (self.folder / "store").glob("catalog.db*"):
            path.unlink()
        with pytest.raises(Corrupt, match="rebuild"):
            Store.open(self.folder / "store")
        report = Store.rebuild(self.folder / "store")
        assert [] == report.lost
        self.store = Store.open(self.folder / "store")

    @rule()
    def rebuild_over_a_catalog(self) -> None:
        self.store.close()
        assert [] == Store.rebuild(self.folder / "store").lost
        self.store = Store.open(self.folder / "store")

    @rule(fast=st.booleans())
    def verify(self, fast: bool) -> None:
        report = self.store.verify(fast=fast)

        assert (True, []) == (report.ok, report.problems)

    @precondition(lambda self: self.model.live())
    @rule(pick=PICKS, at=PICKS, how=st.sampled_from(["flip", "truncate", "delete", "folder", "link", "zero"]))
    def damage_bytes(self, pick: int, at: int, how: str) -> None:
        """What is damaged is an error, never other bytes, and comes back from whoever has it still."""
        root = self.folder / "store"
        files = sorted(path for folder in ("packs", "blobs") for path in (root / folder).rglob("*") if path.is_file())
        if not files:
            return
        _damage(files[pick % len(files)], at, how)
        for project, name, version in self.model.live():
            for path, number in version.files.items():
                with contextlib.suppress(Corrupt):
                    assert content(number) == b"".join(self.store.read(f"{project}/{name}:v{version.number}", path))
        self.store.verify(fast=at % 2 == 0)
        in_parts = {number for some in self.model.parts.values() for _, files in some for number in files.values()}
        for number in {n for _, _, version in self.model.live() for n in version.files.values()} | in_parts:
            self._pooled(number)
        report = self.store.repair([self.pool])
        assert [] == report.still_damaged
        report_after = self.store.verify()
        assert (True, []) == (report_after.ok, report_after.problems)
        check_bytes(self.store, self.model)

    @precondition(lambda self: self.model.live())
    @rule(pick=PICKS, at=PICKS, how=st.sampled_from(["flip", "truncate", "delete", "zero"]))
    def damage_the_log(self, pick: int, at: int, how: str) -> None:
        """The catalog has every transaction, and writes a lost one again with the bytes that the chain names."""
        root = self.store._root
        before = {name: [data for _, data, _ in root.log.transactions(name, 0)] for name in root.log.projects()}
        files = sorted(path for path in (root.path / "ops").rglob("*") if path.is_file())
        _damage(files[pick % len(files)], at, how)
        assert not self.store.verify(fast=True).ok
        report = self.store.repair()
        assert [] == report.still_damaged

        assert before == {name: [data for _, data, _ in root.log.transactions(name, 0)] for name in before}
        problems = self.store.verify().problems
        assert [] == problems

    # Means.

    def _put(self, project: str, name: str, kind: str, files: Files, **labels: Any) -> None:
        # A folder has files, and no pointers.
        files = {path: int(number) for path, number in files.items()}
        source = self._written(f"{project}-{name}", files)
        report = self.store.put([source], name=name, type=kind, project=project, **labels)
        version, made = self.model.put(project, name, kind, files, **labels)
        assert report.version is not None
        assert (made, version.number) == (report.made, report.version.number)

    def _written(self, name: str, files: Files) -> Path:
        """A folder that holds these files; what is right already is not touched, as with a user's own."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for path in [path for path in folder.rglob("*") if path.is_file()]:
            if str(path.relative_to(folder)) not in files:
                path.unlink()
        for relative, number in files.items():
            path = folder / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            data = content(number)
            if not path.exists():
                path.write_bytes(data)
            elif path.read_bytes() != data:
                before = path.stat().st_ctime_ns
                # The grain of time stamps may be coarser than this test is fast.
                while path.stat().st_ctime_ns == before:
                    path.write_bytes(data)
        return folder

    def _pooled(self, number: int) -> Path:
        path = self.pool / str(number)
        if not path.exists():
            path.write_bytes(content(number))
        return path

    def _pick_run(self, pick: int) -> tuple[str, Run]:
        runs = sorted(self.model.runs.items())
        return runs[pick % len(runs)]

    def _pick(self, pick: int) -> tuple[str, str, Version] | None:
        live = self.model.live()
        return live[pick % len(live)] if live else None


def _changed(files: Files, changes: dict[str, int | None]) -> Files:
    return {path: number for path, number in {**files, **changes}.items() if number is not None}


def _fits(path: str, others: Iterable[str]) -> bool:
    """Whether a file of this name can be beside those."""
    return not any(other.startswith(f"{path}/") or path.startswith(f"{other}/") for other in others)


def _damage(path: Path, at: int, how: str) -> None:
    size = path.stat().st_size
    path.chmod(0o644)
    if how == "flip" and size:
        with path.open("r+b") as file:
            file.seek(at % size)
            byte = file.read(1)[0]
            file.seek(at % size)
            file.write(bytes([byte ^ 0x40]))
    elif how == "truncate":
        os.truncate(path, at % max(size, 1))
    elif how == "zero":
        path.write_bytes(bytes(size))
    else:
        path.unlink()
        if how == "folder":
            path.mkdir()
        elif how == "link":
            path.symlink_to("/etc/hostname")


StoreMachine.TestCase.settings = settings(stateful_step_count=30)
TestStoreMachine = StoreMachine.TestCase
