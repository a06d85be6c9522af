"""A fold of its own: what a log comes to, read from the slots in a depot by the simplest means.

Written from the rules (numbers count a collection's commits in the order of the log, a deleted one is not used again;
an alias moves only from where its writer saw it; …) and not from the code that it checks: no import of artstore, plain
dictionaries, everything looked for from the beginning.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from blake3 import blake3

Json = dict[str, Any]


def digest(data: bytes) -> str:
    return f"blake3:{blake3(data).hexdigest()}"


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def id_of(op: Json) -> str:
    return digest(canonical(op))


def slots(folder: Path) -> list[Json]:
    """The slots of a log, which must be a chain without gaps."""
    found: list[Json] = []
    before = None
    # Whoever was killed may have left a file that had no name yet.
    for number, path in enumerate(sorted(folder.glob("[!.]*")), start=1):
        data = path.read_bytes()
        slot = json.loads(data)
        assert path.name == f"{number:012d}", f"{path.name} where slot {number} should be"
        assert (slot["number"], slot["before"]) == (number, before), f"slot {number} does not follow"
        before = digest(data)
        found.append(slot)
    return found


class Naive:
    """What some ops come to, one after the other."""

    def __init__(self) -> None:
        self.collections: dict[str, Json] = {}
        self.same: dict[str, str] = {}
        self.versions: dict[str, Json] = {}
        self.aliases: dict[tuple[str, str], str] = {}
        self.tags: set[tuple[str, str]] = set()
        self.runs: dict[str, dict[str, Json]] = {}
        """By their ids, then by the ops that they began with."""
        self.uses: set[tuple[str, str]] = set()
        self.parts: set[str] = set()
        self.seen: set[str] = set()
        self.void: list[Json] = []
        self.clock = 0

    def take(self, op: Json, body: bytes) -> None:
        id_ = digest(body)
        if id_ in self.seen:
            return
        self.seen.add(id_)
        self.clock += 1
        if not getattr(self, "do_" + op["op"].replace("-", "_"))(op, id_):
            self.void.append(op)

    def collection(self, id_: str) -> Json | None:
        found = self.collections.get(self.same.get(id_, id_))
        return None if found is None or found["deleted"] else found

    def version(self, id_: str | None) -> Json | None:
        found = self.versions.get(id_ or "")
        return None if found is None or found["deleted"] else found

    def do_create(self, op: Json, id_: str) -> bool:
        # It may be in place of one that was refused for its name.
        id_ = op.get("id", id_)
        is_known = id_ in self.collections or id_ in self.same
        if self.collection(id_) is not None or (is_known and "id" not in op):
            return False
        there = [each for each in self.collections.values() if each["name"] == op["name"] and not each["deleted"]]
        gone = self.collections.get(self.same.get(id_, id_))
        if gone is not None:
            gone.update({} if there else {"deleted": False, "name": op["name"]})
            return not there
        if there:
            if (there[0]["type"], there[0]["kind"]) != (op["type"], op["kind"]):
                return False
            self.same[id_] = there[0]["id"]
            return True
        self.collections[id_] = {**op, "id": id_, "next": 0, "deleted": False}
        return True

    def do_commit(self, op: Json, _id: str) -> bool:
        collection = self.collection(op["record"]["collection"])
        version = digest(canonical(op["record"]))
        if collection is None or version in self.versions or not self.has_parts(op):
            return False
        self.versions[version] = {
            "id": version,
            "collection": collection["id"],
            "number": collection["next"],
            "manifest": op["record"]["manifest"],
            "metadata": dict(op["record"]["metadata"]),
            "description": op["record"]["description"],
            "run": op["record"]["run"],
            "logged": self.clock,
            "deleted": False,
        }
        collection["next"] += 1
        self.parts -= set(op.get("parts", []))
        return True

    def do_relog(self, op: Json, id_: str) -> bool:
        target = self.version(op["target"])
        collection = self.collection(op["record"]["collection"])
        if target is None or collection is None or target["collection"] != collection["id"]:
            # What was put into a collection is in that one, wherever others have the same.
            return self.do_commit(op, id_)
        if not self.has_parts(op):
            return False
        target["logged"] = self.clock
        self.parts -= set(op.get("parts", []))
        return True

    def has_parts(self, op: Json) -> bool:
        return self.parts.issuperset(op.get("parts", []))

    def do_part(self, _op: Json, id_: str) -> bool:
        self.parts.add(id_)
        return True

    def do_drop_part(self, op: Json, _id: str) -> bool:
        there = op["part"] in self.parts
        self.parts.discard(op["part"])
        return there

    def do_alias(self, op: Json, _id: str) -> bool:
        collection = self.collection(op["collection"])
        if collection is None:
            return False
        key = collection["id"], op["alias"]
        there = self.aliases.get(key)
        if there is None:
            # It went with the version where its writer saw it, or somebody took it away.
            before = self.version(op["before"])
            if op["version"] is not None and before is not None and before["collection"] == collection["id"]:
                return False
        elif there not in {op["before"], op["version"]}:
            return False
        if op["version"] is None:
            return self.aliases.pop(key, None) is not None
        version = self.version(op["version"])
        if version is None or version["collection"] != collection["id"]:
            return False
        self.aliases[key] = op["version"]
        return True

    def do_tag(self, op: Json, _id: str) -> bool:
        if self.version(op["target"]) is None:
            return False
        pair = op["target"], op["tag"]
        if op["present"]:
            self.tags.add(pair)
            return True
        there = pair in self.tags
        self.tags.discard(pair)
        return there

    def do_describe(self, op: Json, _id: str) -> bool:
        version = self.version(op["target"])
        if version is not None:
            version["description"] = op["text"]
        return version is not None

    def do_metadata(self, op: Json, _id: str) -> bool:
        version = self.version(op["version"])
        if version is None:
            return False
        for key in op["remove"]:
            version["metadata"].pop(key, None)
        version["metadata"].update(op["set"])
        return True

    def do_delete(self, op: Json, _id: str) -> bool:
        version = self.version(op["version"])
        if version is None or (not op.get("forced", True) and self.is_needed(version["id"])):
            return False
        self.end(version)
        return True

    def is_needed(self, id_: str) -> bool:
        """Whether an alias or a use stands that whoever ended a version without force had not seen."""
        return id_ in self.aliases.values() or any(used == id_ for _run, used in self.uses)

    def end(self, version: Json) -> None:
        version["deleted"] = True
        self.aliases = {key: id_ for key, id_ in self.aliases.items() if id_ != version["id"]}
        self.tags = {pair for pair in self.tags if pair[0] != version["id"]}

    def do_delete_collection(self, op: Json, _id: str) -> bool:
        collection = self.collection(op["collection"])
        if collection is None:
            return False
        live = [each for each in self.versions.values() if each["collection"] == collection["id"]]
        live = [each for each in live if not each["deleted"]]
        ended = [each for each in live if each["id"] in op["versions"]]
        if not op.get("forced", True) and any(self.is_needed(each["id"]) for each in ended):
            return False
        for version in ended:
            self.end(version)
        collection["deleted"] = ended == live and not self.is_of_others(op)
        return bool(ended) or collection["deleted"]

    def do_retype(self, op: Json, _id: str) -> bool:
        collection = self.collection(op["collection"])
        if collection is None or self.is_of_others(op):
            return False
        collection["type"] = op["type"]
        return True

    def is_of_others(self, op: Json) -> bool:
        """Whether who wrote of a collection had only seen one of their own, and others had made it first."""
        return op["collection"] in self.same

    def do_condemn(self, _op: Json, _id: str) -> bool:
        return True

    def do_sweep(self, _op: Json, _id: str) -> bool:
        return True

    def do_rename(self, op: Json, _id: str) -> bool:
        collection = self.collection(op["collection"])
        if collection is None or self.is_of_others(op):
            return False
        for other in self.collections.values():
            if other["name"] == op["name"] and not other["deleted"] and other is not collection:
                return False
        collection["name"] = op["name"]
        return True

    def do_run(self, op: Json, id_: str) -> bool:
        told = {"config": op["config"], "state": "running"}
        begun = self.runs.setdefault(op["run"], {})
        first = next(iter(begun), None)
        before = op["after"] if op.get("after") in begun else first
        if op.get("after") is None:
            # Its writer knew of none: what is said of it stands beside what is said of the first one.
            before = None
        if before is not None:
            told["config"] = {**begun[before]["config"], **op["config"]}
        if before == first:
            # The first one stays the first.
            self.runs[op["run"]] = {id_: told, **{key: each for key, each in begun.items() if key != first}}
        else:
            begun = {key: each for key, each in begun.items() if key != before}
            self.runs[op["run"]] = {**begun, id_: told}
        return True

    def do_finish_run(self, op: Json, _id: str) -> bool:
        if op["run"] not in self.runs:
            return False
        begun = self.runs[op["run"]]
        begun[op["begun"] if op.get("begun") in begun else next(iter(begun))]["state"] = op["state"]
        return True

    def do_use(self, op: Json, _id: str) -> bool:
        if op["run"] not in self.runs:
            return False
        self.uses.add((op["run"], op["version"]))
        return True

    def shown(self, forgotten: set[str]) -> Json:
        """What is seen, by collection, where these are forgotten: versions with their labels, the newest first."""
        found: Json = {}
        for collection in self.collections.values():
            if collection["deleted"]:
                continue
            live = [each for each in self.versions.values() if each["collection"] == collection["id"]]
            live = [each for each in live if not each["deleted"] and each["id"] not in forgotten]
            live = sorted(live, key=lambda each: -each["number"])
            latest = max(live, key=lambda each: each["logged"], default=None)
            found[collection["name"]] = [
                {
                    "number": each["number"],
                    "id": each["id"],
                    "digest": each["manifest"],
                    "type": collection["type"],
                    "metadata": each["metadata"],
                    "description": each["description"],
                    "tags": sorted(tag for target, tag in self.tags if target == each["id"]),
                    "aliases": sorted(
                        [name for (_of, name), id_ in self.aliases.items() if id_ == each["id"]]
                        + (["latest"] if each is latest else []),
                    ),
                    "run": each["run"],
                }
                for each in live
            ]
        return found


def fold(folder: Path) -> Naive:
    """What the log in a folder comes to."""
    naive = Naive()
    if folder.exists():
        for slot in slots(folder):
            for transaction in slot["transactions"]:
                for op in transaction:
                    naive.take(op, canonical(op))
    return naive
