"""The house stands: imports go down or stay on their floor, and what belongs to one room stays there.

Each rule is a function from a module to its offences, so that it can be fed a planted one: a rule that cannot fail says
nothing.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import metadata
from pathlib import Path
from typing import Final, Literal, NamedTuple

import pytest

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = "artstore"

FLOORS: Final = (
    {"errors", "forks"},
    {"model"},
    {"storage"},
    {"lifecycle"},
    {"store"},
    {"sync", "references", "imports"},
    {"discovery", "plain", "units"},
    {"api", "cli", "server", "filesystem"},
)
"""From the ground up."""
DOORS: Final = FLOORS[-1]
MAY_LOOK_AROUND: Final = DOORS | {"discovery"}
"""Where it is read for whom and from where artstore runs."""
FLOOR_OF: Final = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

ONLY_IN: Final = {
    "click": {"cli"},
    "jinja2": {"server"},
    "rich": {"cli"},
    "platformdirs": {"discovery"},
    "sqlite3": {"storage"},
    "starlette": {"server"},
    "sqlite_utils": {"storage"},
    "pysqlite3": {"storage"},
    "uvicorn": {"server"},
    "watchdog": {"lifecycle"},
}
"""Libraries that one room, or one kind of room, has to itself."""

IMPURE: Final = {
    *("os", "pathlib", "io", "glob", "shutil", "tempfile", "fcntl", "mmap", "stat"),  # the disk
    *("time", "random", "secrets", "uuid"),  # another answer each time
    *("socket", "ssl", "http", "urllib", "asyncio", "select", "subprocess"),  # the world outside
    *("sqlite3", "sqlite_utils", "pysqlite3", "fsspec", "logging"),
}
"""What a module of values has no use for."""

SURROUNDINGS: Final = {"environ", "environb", "getenv", "expanduser", "expandvars", "isatty"}
"""Names by which a program learns where and for whom it runs; Path.home() counts as well."""

LIVELY: Final = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "code", "runpy"}
"""Libraries that run what they read, or can be told to by what they read."""
RUNS: Final = {"eval", "exec", "compile"}
MAY_RUN: Final = {"allow_pickle=True", "weights_only=False"}
"""What tells a library that it may."""

SQL: Final = re.compile(
    r"\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|CREATE|ALTER|DROP|PRAGMA|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|WITH)\b"
)

USED_WITHOUT_IMPORT: Final = {"adlfs", "pysqlite3", "s3fs"}
"""sqlite-utils and fsspec look for them by themselves."""

IMPORTED_AS: Final = {
    "azure-core": "azure",
    "google-api-core": "google",
    "google-auth": "google",
    "google-cloud-storage": "google",
}
"""Distributions that share a package with others."""

EXTRAS: Final = {
    "azure": {"artstore.references.azure"},
    "gs": {"artstore.references.gs", "artstore.sync.objects.gs"},
    "lightning": {"artstore.api.lightning"},
    "s3": {"artstore.references.s3", "artstore.sync.objects.s3"},
    "server": {"artstore.server", "artstore.cli.ui", "artstore.cli.serve"},
    "sftp": {"artstore.sync.objects.sftp"},
    "transformers": {"artstore.api.transformers"},
}
"""Modules and packages that are imported only when somebody needs them, by the extra that brings their libraries."""


When = Literal["at import", "when called", "for types", "by name"]


class Import(NamedTuple):
    """One module that is asked for, and how; `package.module:name` where a name is taken out of it."""

    target: str
    line: int
    when: When


class Module(NamedTuple):
    """A module as its author wrote it."""

    name: str
    source: str

    @property
    def room(self) -> str:
        """The folder or file directly below the package; empty for the front door."""
        return room_of(self.name)

    @property
    def tree(self) -> ast.Module:
        return _parse(self.source)

    @property
    def imports(self) -> list[Import]:
        return list(_imports(self.tree, "at import"))


@cache
def _parse(source: str) -> ast.Module:
    return ast.parse(source)


@cache
def house() -> list[Module]:
    """The modules that exist."""
    found = []
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Module(name, path.read_text(encoding="utf-8")))
    return found


def room_of(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def is_ours(target: str) -> bool:
    return target.split(".", 1)[0] == PACKAGE


def _imports(node: ast.AST, when: When) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        yield from _asked_by(child, when)
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _imports(child, "when called")
        elif isinstance(child, ast.If) and ast.unparse(child.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            yield from _imports(ast.Module(child.body, []), "for types" if when == "at import" else when)
            yield from _imports(ast.Module(child.orelse, []), when)
        else:
            yield from _imports(child, when)


def _asked_by(node: ast.AST, when: When) -> Iterator[Import]:
    match node:
        case ast.Import():
            yield from (Import(name.name, node.lineno, when) for name in node.names)
        case ast.ImportFrom():
            # A relative import keeps its dots, which no rule lets through.
            target = "." * node.level + (node.module or "")
            yield from (Import(f"{target}:{name.name}", node.lineno, when) for name in node.names)
        case ast.Call(args=[ast.Constant(value=str(target)), *_]):
            if ast.unparse(node.func).rpartition(".")[2] in {"import_module", "__import__"}:
                yield Import(target, node.lineno, "by name")


def is_in(name: str, places: set[str]) -> bool:
    """Whether a module is one of those, or in a package that is."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def module_of(target: str) -> str:
    """The module part of `package.module:name`."""
    return target.split(":", 1)[0]


# Rules ------------------------------------------------------------------------------------------------------------


def arrows_go_down(module: Module) -> Iterator[str]:
    """A module may ask for its own floor and those below; a door for no other door, except that cli opens them all."""
    if module.room in {"", "__main__"}:
        return  # The front door stands above the house, with a rule of its own; and what only runs a door is no room.
    if module.room not in FLOOR_OF:
        yield f"{module.name}: has no floor"
        return
    for found in module.imports:
        target = module_of(found.target)
        room = room_of(target)
        if not is_ours(target) or not room:
            continue
        here = f"{module.name}:{found.line}"
        if room not in FLOOR_OF:
            yield f"{here}: {target} has no floor"
        elif FLOOR_OF[room] > FLOOR_OF[module.room]:
            yield f"{here}: {target} is a floor above"
        elif room in DOORS and module.room not in {room, "cli"}:
            yield f"{here}: {target} is another door"


def nobody_asks_the_front_door(module: Module) -> Iterator[str]:
    """Every name is asked for where it lives: the package's root would bring cycles, and so would relative imports."""
    for found in module.imports:
        target = module_of(found.target)
        if target == PACKAGE:
            yield f"{module.name}:{found.line}: imports the package's root"
        elif target.startswith("."):
            yield f"{module.name}:{found.line}: imports relative to itself"


def no_late_imports_of_our_own(module: Module) -> Iterator[str]:
    """An import inside a function hides an arrow that points the wrong way."""
    for found in module.imports:
        if found.when == "when called" and is_ours(module_of(found.target)):
            yield f"{module.name}:{found.line}: imports {found.target} inside a function"


def front_door_is_lazy(module: Module) -> Iterator[str]:
    """`import artstore` brings nothing of its own along."""
    if module.name == PACKAGE:
        for found in module.imports:
            if found.when == "at import" and is_ours(module_of(found.target)):
                yield f"{module.name}:{found.line}: imports {found.target} at once"


def model_is_pure(module: Module) -> Iterator[str]:
    """No disk, clock, chance or network, not even for types."""
    if module.room == "model":
        for found in module.imports:
            if module_of(found.target).split(".", 1)[0] in IMPURE:
                yield f"{module.name}:{found.line}: imports {found.target}"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"open", "print", "input"}:
                yield f"{module.name}:{node.lineno}: calls {ast.unparse(node.func)}"


def libraries_stay_in_their_room(module: Module) -> Iterator[str]:
    """click and rich draw for a terminal, SQLite lies on the disk, and so on: nobody else needs to know them."""
    for found in module.imports:
        library = module_of(found.target).split(".", 1)[0]
        if module.room not in ONLY_IN.get(library, {module.room}):
            yield f"{module.name}:{found.line}: imports {library}"


def sql_stays_in_storage(module: Module) -> Iterator[str]:
    """A text that begins as a statement does, in capitals."""
    if module.room != "storage":
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value):
                yield f"{module.name}:{node.lineno}: {node.value.split()[0]} outside of storage"


def surroundings_are_read_at_the_doors(module: Module) -> Iterator[str]:
    """The same call does the same in a terminal, a service and a test."""
    if module.room in MAY_LOOK_AROUND:
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute):
            name, is_home = node.attr, ast.unparse(node) in {"Path.home", "pathlib.Path.home"}
        elif isinstance(node, ast.alias):
            name, is_home = node.name, False
        else:
            continue
        if name in SURROUNDINGS or is_home:
            yield f"{module.name}:{node.lineno}: reads {name}"


def what_is_read_stays_data(module: Module) -> Iterator[str]:
    """A21. A store, a bundle or a server may be a stranger's: what comes from there is never run."""
    for found in module.imports:
        library = module_of(found.target).split(".", 1)[0]
        if library in LIVELY:
            yield f"{module.name}:{found.line}: imports {library}"
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        # `re.compile` and a model's `eval` are something else.
        if called in RUNS or called.endswith(".read_pickle"):
            yield f"{module.name}:{node.lineno}: calls {called}"
        for said in MAY_RUN.intersection(map(ast.unparse, node.keywords)):
            yield f"{module.name}:{node.lineno}: says {said}"


RULES: Final = (
    arrows_go_down,
    nobody_asks_the_front_door,
    no_late_imports_of_our_own,
    front_door_is_lazy,
    model_is_pure,
    libraries_stay_in_their_room,
    sql_stays_in_storage,
    surroundings_are_read_at_the_doors,
    what_is_read_stays_data,
)


def cycle(modules: list[Module]) -> list[str]:
    """Modules that need each other, imports for types included; empty if there are none."""
    names = {module.name for module in modules}
    graph: dict[str, set[str]] = {}
    for module in modules:
        needs = set()
        for found in module.imports:
            submodule = found.target.replace(":", ".")
            target = submodule if submodule in names else module_of(found.target)
            # Of the front door, only what it does at once can close a circle, and that is nothing.
            if target in names and module.room:
                needs.add(target)
        graph[module.name] = needs
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def undeclared(modules: list[Module], declared: set[str]) -> list[str]:
    """Libraries that are imported and that nobody promised to install."""
    return sorted(_libraries(modules) - {_importable(name) for name in declared})


def unused(modules: list[Module], declared: set[str]) -> list[str]:
    """Libraries that everybody has to install and no module imports."""
    libraries = _libraries(modules)
    return sorted(name for name in declared - USED_WITHOUT_IMPORT if _importable(name) not in libraries)


def _libraries(modules: list[Module]) -> set[str]:
    tops = {module_of(found.target).split(".", 1)[0] for module in modules for found in module.imports}
    return tops - sys.stdlib_module_names - {PACKAGE, ""}


def _importable(distribution: str) -> str:
    return IMPORTED_AS.get(distribution, distribution.replace("-", "_"))


def declared_dependencies(extra: str | None = None) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    names = (re.match(r"[A-Za-z0-9_.-]+", text) for text in texts)
    return {name[0].lower() for name in names if name}


# The house, held to the rules -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps_the_rule(rule: Callable[[Module], Iterator[str]]) -> None:
    assert [] == [offence for module in house() for offence in rule(module)]


def test_no_modules_need_each_other() -> None:
    assert [] == cycle(house())


def test_what_is_imported_is_declared_and_the_other_way_round() -> None:
    """A dependency is added with the code that uses it, and leaves with it."""
    core = [module for module in house() if not any(is_in(module.name, names) for names in EXTRAS.values())]

    assert [] == undeclared(core, declared_dependencies())
    assert [] == unused(core, declared_dependencies())


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_a_module_needs_besides_comes_with_its_extra(extra: str) -> None:
    modules = [module for module in house() if is_in(module.name, EXTRAS[extra])]
    libraries = declared_dependencies(extra)

    assert [] == undeclared(modules, declared_dependencies() | libraries)
    assert [] == unused(modules, libraries)


@pytest.mark.parametrize("extra", EXTRAS)
def test_nobody_imports_a_module_whose_libraries_may_not_be_there(extra: str) -> None:
    assert [] == [
        f"{module.name}:{found.line}"
        for module in house()
        if not is_in(module.name, EXTRAS[extra])
        for found in module.imports
        if is_in(found.target.replace(":", "."), EXTRAS[extra])
    ]


def test_the_installed_package_asks_for_what_is_declared() -> None:
    asked = {
        match[0].lower()
        for text in metadata.requires(PACKAGE) or ()
        if "extra ==" not in text and (match := re.match(r"[A-Za-z0-9_.-]+", text))
    }

    assert declared_dependencies() == asked


def test_the_rules_look_at_the_whole_house() -> None:
    known = {module.name: module for module in house()}

    assert {"artstore", "artstore.errors", "artstore.model", "artstore.model.digest"} <= set(known)
    assert "artstore.errors:Invalid" in {found.target for found in known["artstore.model.digest"].imports}
    assert "" == known["artstore"].room


# The rules, held to planted offences ------------------------------------------------------------------------------

PLANTED: Final = [
    (arrows_go_down, "artstore.errors", "from artstore.model.digest import Digest", "a floor above"),
    (arrows_go_down, "artstore.model.names", "import artstore.storage.files", "a floor above"),
    (arrows_go_down, "artstore.storage.packs", "from artstore.lifecycle import progress", "a floor above"),
    (arrows_go_down, "artstore.lifecycle.scan", "from artstore.store import Store", "a floor above"),
    (arrows_go_down, "artstore.store", "from artstore.sync.plan import plan", "a floor above"),
    (arrows_go_down, "artstore.sync.plan", "from artstore.cli import main", "a floor above"),
    (
        arrows_go_down,
        "artstore.storage.packs",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from artstore.store import Store",
        "a floor above",
    ),
    (
        arrows_go_down,
        "artstore.storage.packs",
        "import importlib\ndef f():\n    importlib.import_module('artstore.cli.put')",
        "a floor above",
    ),
    (arrows_go_down, "artstore.api.run", "from artstore.cli.options import Call", "another door"),
    (arrows_go_down, "artstore.server", "import artstore.filesystem", "another door"),
    (arrows_go_down, "artstore.utils", "import os", "has no floor"),
    (arrows_go_down, "artstore.cli.put", "import artstore.helpers", "has no floor"),
    (nobody_asks_the_front_door, "artstore.store", "import artstore", "package's root"),
    (nobody_asks_the_front_door, "artstore.store", "from artstore import errors", "package's root"),
    (nobody_asks_the_front_door, "artstore.model.names", "from .digest import Digest", "relative"),
    (nobody_asks_the_front_door, "artstore.model.names", "from . import digest", "relative"),
    (
        no_late_imports_of_our_own,
        "artstore.storage.packs",
        "def f():\n    from artstore.model.digest import Digest",
        "inside a function",
    ),
    (
        no_late_imports_of_our_own,
        "artstore.storage.packs",
        "class A:\n    async def f(self):\n        if self:\n            import artstore.errors",
        "inside a function",
    ),
    (
        no_late_imports_of_our_own,
        "artstore",
        "def __getattr__(name):\n    from artstore.store import Store",
        "inside a function",
    ),
    (front_door_is_lazy, "artstore", "from artstore.errors import Invalid", "at once"),
    (front_door_is_lazy, "artstore", "try:\n    import artstore.store\nexcept ImportError:\n    pass", "at once"),
    (model_is_pure, "artstore.model.names", "import os.path", "imports os.path"),
    (model_is_pure, "artstore.model.names", "from pathlib import Path", "imports pathlib:Path"),
    (model_is_pure, "artstore.model.fold", "def now():\n    from time import time", "imports time:time"),
    (model_is_pure, "artstore.model.fold", "import sqlite3", "imports sqlite3"),
    (model_is_pure, "artstore.model", "import socket", "imports socket"),
    (model_is_pure, "artstore.model.manifest", "open('entries')", "calls open"),
    (libraries_stay_in_their_room, "artstore.lifecycle.progress", "import rich.progress", "imports rich"),
    (libraries_stay_in_their_room, "artstore.store", "from click import echo", "imports click"),
    (libraries_stay_in_their_room, "artstore.lifecycle.collect", "import sqlite3", "imports sqlite3"),
    (libraries_stay_in_their_room, "artstore.storage.files", "import platformdirs", "imports platformdirs"),
    (sql_stays_in_storage, "artstore.lifecycle.collect", "q = 'SELECT id FROM version'", "SELECT outside"),
    (sql_stays_in_storage, "artstore.cli.look", "q = f'''\n  DELETE FROM {t}'''", "DELETE outside"),
    (sql_stays_in_storage, "artstore.store", "q = 'PRAGMA wal_checkpoint'", "PRAGMA outside"),
    (surroundings_are_read_at_the_doors, "artstore.store", "import os\nos.environ['HOME']", "reads environ"),
    (surroundings_are_read_at_the_doors, "artstore.storage.files", "from os import getenv", "reads getenv"),
    (surroundings_are_read_at_the_doors, "artstore.store", "from pathlib import Path\nPath.home()", "reads home"),
    (surroundings_are_read_at_the_doors, "artstore.lifecycle.scan", "Path('~').expanduser()", "reads expanduser"),
    (what_is_read_stays_data, "artstore.sync.received", "import pickle", "imports pickle"),
    (what_is_read_stays_data, "artstore.lifecycle.scan", "def f():\n    from yaml import load", "imports yaml"),
    (what_is_read_stays_data, "artstore.model.records", "eval(text)", "calls eval"),
    (what_is_read_stays_data, "artstore.storage.oplog", "def f(data):\n    exec(compile_(data))", "calls exec"),
    (what_is_read_stays_data, "artstore.api.table", "pd.read_pickle(path)", "calls pd.read_pickle"),
    (what_is_read_stays_data, "artstore.api.table", "np.load(path, allow_pickle=True)", "says allow_pickle"),
    (what_is_read_stays_data, "artstore.api.lightning", "torch.load(path, weights_only=False)", "says weights_only"),
]

INNOCENT: Final = [
    (arrows_go_down, "artstore.cli", "import artstore.server, artstore.store, artstore.errors"),
    (arrows_go_down, "artstore.cli.put", "from artstore.cli.options import Call"),
    (arrows_go_down, "artstore.references.s3", "from artstore.model.manifest import Entry"),
    (arrows_go_down, "artstore", "from artstore.store import Store"),
    (nobody_asks_the_front_door, "artstore.store", "from artstore.storage import files\nimport artstore_else"),
    (no_late_imports_of_our_own, "artstore.references.s3", "def f():\n    import s3fs"),
    (
        no_late_imports_of_our_own,
        "artstore",
        "def __getattr__(name):\n    return import_module('artstore.store')",
    ),
    (front_door_is_lazy, "artstore", "if TYPE_CHECKING:\n    from artstore.store import Store"),
    (model_is_pure, "artstore.model.digest", "import re\nfrom blake3 import blake3"),
    (model_is_pure, "artstore.storage.files", "import os"),
    (libraries_stay_in_their_room, "artstore.cli.output", "import rich.console, click"),
    (libraries_stay_in_their_room, "artstore.storage.catalog", "import sqlite_utils"),
    (sql_stays_in_storage, "artstore.storage.catalog", "q = 'SELECT 1'"),
    (sql_stays_in_storage, "artstore.cli.arrange", "help = 'Delete a version. SELECTED ones first.'"),
    (surroundings_are_read_at_the_doors, "artstore.discovery", "import os\nos.environ"),
    (surroundings_are_read_at_the_doors, "artstore.store", "self.home = environment"),
    (what_is_read_stays_data, "artstore.model.records", "import json, msgspec\nmsgspec.json.decode(data)"),
    (what_is_read_stays_data, "artstore.model.names", "import re\nre.compile('a')\nmodel.eval()"),
    (what_is_read_stays_data, "artstore.api.table", "np.load(path, allow_pickle=False)"),
]


@pytest.mark.parametrize(("rule", "name", "source", "offence"), PLANTED)
def test_the_rule_finds_a_planted_offence(
    rule: Callable[[Module], Iterator[str]], name: str, source: str, offence: str
) -> None:
    found = list(rule(Module(name, source)))

    assert len(found) == 1
    assert found[0].startswith(name)
    assert offence in found[0]


@pytest.mark.parametrize(("rule", "name", "source"), INNOCENT)
def test_the_rule_lets_the_innocent_go(rule: Callable[[Module], Iterator[str]], name: str, source: str) -> None:
    assert [] == list(rule(Module(name, source)))


def test_each_rule_has_a_planted_offence_and_an_innocent() -> None:
    assert {rule for rule, *_ in PLANTED} == set(RULES)
    assert {rule for rule, *_ in INNOCENT} == set(RULES)


@pytest.mark.parametrize(
    "back",
    [
        "from artstore.model.digest import Digest",
        "from artstore.model import digest",
        "if TYPE_CHECKING:\n    import artstore.model.digest",
        "def f():\n    import artstore.model.digest",
    ],
)
def test_a_planted_cycle_is_found(back: str) -> None:
    digest = Module("artstore.model.digest", "from artstore.model.names import Name")

    assert {"artstore.model.digest", "artstore.model.names"} == set(
        cycle([digest, Module("artstore.model.names", back)])
    )
    assert [] == cycle([digest, Module("artstore.model.names", "import re")])


def test_a_planted_dependency_is_found() -> None:
    modules = [Module("artstore.server", "import os\nimport watchdog.events\nfrom sqlite_utils import Database")]

    assert ["watchdog"] == undeclared(modules, {"sqlite-utils"})
    assert ["blake3"] == unused(modules, {"sqlite-utils", "watchdog", "blake3", "pysqlite3"})
