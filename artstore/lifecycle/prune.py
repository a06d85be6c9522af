"""Prune: versions go by policy.

A version stays if any rule keeps it: one of the last, one of the best, young enough; and always if it carries an alias
other than latest, is linked in a portfolio, or was used by a run of this store. A version whose time to live is over
goes, unless such an alias, link or use holds it. Without a rule only those go.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from artstore.errors import ArtstoreError, Invalid, StorageFull
from artstore.lifecycle.commit import commit
from artstore.lifecycle.links import names_of_links
from artstore.lifecycle.reports import KeptVersion, PrunedVersion, PruneReport
from artstore.lifecycle.resolve import find_collection
from artstore.lifecycle.upstream import ends_of, keeps_log
from artstore.model.names import LATEST
from artstore.model.paths import quoted
from artstore.model.records import Op
from artstore.model.state import Version
from artstore.storage.catalog import ProjectView
from artstore.storage.marking import Marking
from artstore.storage.reserve import FOR_GC
from artstore.storage.root import Root

AT_ONCE: Final = 32
"""Versions that one transaction deletes."""
CLOCK_SLACK_S: Final = 86_400.0
"""A clock that is further than this ahead of the newest op and of the file system's time expires nothing."""

Order = Literal["max", "min"]
_Key = Annotated[str, msgspec.Meta(min_length=1)]
_Count = Annotated[int, msgspec.Meta(ge=1)]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept."""

    last: int | None
    best: list[tuple[str, Order, int]]
    """Metadata key (dots lead into nested values), which end is good, how many."""
    within_s: float | None

    @property
    def has_rules(self) -> bool:
        """Whether anything but time to live is asked for."""
        return self.last is not None or bool(self.best) or self.within_s is not None


def policy(
    *,
    keep_last: int | None = None,
    keep_best: Sequence[tuple[str, Order, int]] = (),
    keep_within_s: float | None = None,
) -> Policy:
    """Parse at the border. Raises Invalid (bad-policy)."""
    # A time that is not a number is not below 0 either.
    if (keep_last is not None and keep_last < 0) or not (keep_within_s is None or keep_within_s >= 0):
        message = "a policy keeps 0 or more versions, for 0 or more seconds"
        raise Invalid(message, code="bad-policy")
    return Policy(last=keep_last, best=_checked_best(keep_best), within_s=keep_within_s)


def _checked_best(keep_best: Any) -> list[tuple[str, Order, int]]:
    try:
        return msgspec.convert(keep_best, list[tuple[_Key, Order, _Count]])
    except msgspec.ValidationError as error:
        message = f"{keep_best!r} does not say which are the best: give [(metadata key, 'max' or 'min', 1 or more), …]"
        raise Invalid(message, code="bad-policy") from error


def prune(root: Root, names: Sequence[tuple[str, str]], rules: Policy, *, dry_run: bool) -> PruneReport:
    """Delete versions of some collections, each a project and a name, by policy; `gc` frees their bytes.

    Raises Invalid (bad-policy) where the best are asked for by what no version of a collection has.
    """
    deleted: list[PrunedVersion] = []
    judged: list[str] = []
    """The ids of those that are to be deleted, in the same order."""
    kept: list[KeptVersion] = []
    condemned: dict[str, list[Version]] = {}
    for project, name in dict.fromkeys(names):
        _, view, collection = find_collection(root, project, name)
        if collection.kind == "portfolio":
            message = f"{project}/{name} is a portfolio: its links are taken out one by one, with `artstore unlink`"
            raise Invalid(message, code="is-a-portfolio")
        versions = view.versions_of(collection.id)
        _check_keys(versions, rules, f"{project}/{collection.name}")
        for version, reason, stays in _judge(root, view, versions, rules):
            ref = f"{project}/{collection.name}:v{version.number}"
            if stays:
                kept.append(KeptVersion(ref=ref, reason=reason))
            else:
                deleted.append(PrunedVersion(ref=ref, reason=reason, bytes=version.bytes))
                condemned.setdefault(project, []).append(version)
                judged.append(version.id)
    freeable = Marking(root.catalog).freeable_by(judged)
    if not dry_run:
        gone = _delete_all(root, condemned)
        if len(gone) < len(judged):
            deleted = [each for each, id_ in zip(deleted, judged, strict=True) if id_ in gone]
            with contextlib.suppress(ArtstoreError):
                # What is committed is not reported as failed for a figure.
                freeable = Marking(root.catalog).freeable_by(sorted(gone))
    return PruneReport(dry_run=dry_run, deleted=deleted, kept=kept, freeable_bytes=freeable)


def _delete_all(root: Root, condemned: dict[str, list[Version]]) -> set[str]:
    """Delete versions, by project, some at a time: what one transaction takes is bounded, as is the reserve."""
    gone: set[str] = set()
    for project, versions in condemned.items():
        for start in range(0, len(versions), AT_ONCE):
            some = versions[start : start + AT_ONCE]
            try:
                gone.update(root.with_reserve(partial(_delete, root, project, some), keep=FOR_GC))
            except StorageFull as full:
                if not gone:
                    raise
                every = sum(map(len, condemned.values()))
                message = f"{len(gone):,} of {every:,} versions are deleted; then there was {full.message}"
                raise StorageFull(message, code=full.code) from full
    return gone


def _delete(root: Root, project: str, judged: Sequence[Version]) -> list[str]:
    """Delete versions, but for those of which anything changed since they were judged; answers which."""
    gone: list[str] = []

    def plan(view: ProjectView) -> list[Op]:
        # An edit that came meanwhile saves one, as do an alias, a use, and a commit of the same content, which makes it
        # the latest: the rules were asked about another state of it.
        gone[:] = [each.id for each in judged if view.version(each.id) == each and _held(root, view, each) is None]
        everywhere = keeps_log(root, project)
        return ends_of(root, project, view, gone, everywhere=everywhere)

    with root.session("prune") as session:
        commit(root, session, project, plan)
    return gone


def _check_keys(versions: Sequence[Version], rules: Policy, name: str) -> None:
    """A key with a typing error must not take every version, as it would keep none."""
    for key, _order, _count in rules.best:
        if versions and all(_score(version.metadata, key) is None for version in versions):
            message = f"no version of {name} has a number as {quoted(key)} in its metadata: nothing was deleted"
            raise Invalid(message, code="bad-policy")


def _judge(
    root: Root,
    view: ProjectView,
    versions: Sequence[Version],
    rules: Policy,
) -> list[tuple[Version, str, bool]]:
    now = safe_now(root.path, (version.created_us for version in versions))
    reasons = _kept_by_rules(versions, rules, now)
    verdicts: list[tuple[Version, str, bool]] = []
    for version in versions:
        held = _held(root, view, version)
        is_over = version.ttl_s is not None and version.created_us / 1e6 + version.ttl_s < now
        if held is not None:
            verdicts.append((version, held, True))
        elif is_over:
            verdicts.append((version, "its time to live is over", False))
        elif not rules.has_rules:
            verdicts.append((version, "no rule was given", True))
        elif version.id in reasons:
            verdicts.append((version, reasons[version.id], True))
        else:
            verdicts.append((version, "no rule keeps it", False))
    return verdicts


def _held(root: Root, view: ProjectView, version: Version) -> str | None:
    names = [alias.name for alias in view.aliases_of(version.collection, version.id) if alias.name != LATEST]
    if names:
        return f"alias {', '.join(sorted(names))}"
    links = names_of_links(root, version.id)
    if links:
        return f"linked as {', '.join(links)}"
    return "a run used it" if view.is_used(version.id) else None


def _kept_by_rules(versions: Sequence[Version], rules: Policy, now: float) -> dict[str, str]:
    reasons: dict[str, str] = {}
    by_log = sorted(versions, key=lambda version: version.logged, reverse=True)
    for version in by_log[: rules.last or 0]:
        reasons.setdefault(version.id, f"one of the last {rules.last}")
    for key, order, count in rules.best:
        scored = [(score, version) for version in versions if (score := _score(version.metadata, key)) is not None]
        # Of equal ones the newer stays.
        scored.sort(key=lambda pair: (pair[0] if order == "max" else -pair[0], pair[1].number), reverse=True)
        for _, version in scored[:count]:
            reasons.setdefault(version.id, f"one of the best {count} by {key} ({order})")
    if rules.within_s is not None:
        for version in versions:
            if now - version.created_us / 1e6 <= rules.within_s:
                reasons.setdefault(version.id, "young enough")
    return reasons


def _score(metadata: dict[str, Any], key: str) -> int | float | None:
    value: Any = metadata.get(key)
    if value is None:
        value = metadata
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    # Not as a float: a whole number may be too large for one.
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def safe_now(path: Path, made_us: Iterable[int]) -> float:
    """The time, but not one that a wrong clock made up: what nothing confirms is not believed.

    What confirms it are the times when something was made, and the file system's below a store's folder.
    """
    now = time.time()
    newest = max((made / 1e6 for made in made_us), default=0.0)
    confirmed = max(newest, path.stat().st_mtime, (path / "locks").stat().st_mtime)
    return min(now, confirmed + CLOCK_SLACK_S)
