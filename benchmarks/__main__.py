"""The command line: `python -m benchmarks [scale | soak]`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path

from benchmarks import scale, soak, suite, syncing, table
from benchmarks.measure import Failed
from benchmarks.volumes import ends_on_signals
from benchmarks.workloads import WORKLOADS
from benchmarks.yardsticks import PEERS


def main() -> int:
    """Do what the command line says; 1 if artstore, the copy or a soak failed."""
    options = _parser().parse_args()
    try:
        with ends_on_signals():
            code: int = options.act(options)
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    return code


def _suite(options: argparse.Namespace) -> int:
    refusal = _refusal(options)
    if options.write and refusal:
        print(f"{refusal}: leave out --write", file=sys.stderr)
        return 2
    chosen = suite.Options(
        folder=options.folder,
        workloads=options.workloads,
        rows=frozenset(options.rows),
        peers=options.peers,
        laps=min(options.runs, 2) if options.quick else options.runs,
        is_quick=options.quick,
    )
    blocks = []
    for block in suite.run(chosen):
        blocks.append(block)
        text = table.render(block.heading, block.facts, block.rows)
        print(text, flush=True)
        if options.write:
            table.renew(block.name, text)
        if options.json:
            # After each block, so that what an hour has measured outlives the failure of the next.
            options.json.write_text(json.dumps([asdict(block) for block in blocks], indent=1), encoding="utf-8")
    return 0


def _refusal(options: argparse.Namespace) -> str | None:
    """Why what would be measured must not replace a table that is kept, if so."""
    if options.quick:
        return "--quick measures nothing that is worth keeping"
    missing = set(suite.ROWS) - suite.APART - set(options.rows)
    if missing and not set(options.rows) <= suite.APART:
        return f"a table without {', '.join(sorted(missing))} would take the place of a whole one"
    if suite.SYNC in options.rows and not set(syncing.TREES) <= set(options.workloads):
        return "a table of some of its trees would take the place of a whole one"
    return None


def _scale(options: argparse.Namespace) -> int:
    for name, text in scale.run(options.folder, options.entries, options.versions, options.runs):
        print(text, flush=True)
        if options.write:
            table.renew(name, text)
    return 0


def _soak(options: argparse.Namespace) -> int:
    return soak.run(options.names or list(soak.SOAKS), soak.Effort(kills=options.kills, seed=options.seed))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure artstore beside the tools that it is measured against."
    )
    parser.add_argument("--workloads", type=_some_of(WORKLOADS), default=list(WORKLOADS), help="default: S,T,M,L")
    usual = [name for name in suite.ROWS if name not in suite.BY_NAME]
    words = f"{','.join(suite.ROWS)}; default: all but {','.join(suite.BY_NAME)}"
    parser.add_argument("--rows", type=_some_of(suite.ROWS), default=usual, help=words)
    parser.add_argument(
        "--peers", type=_some_of(PEERS), help=f"of {','.join(PEERS)}, on every workload; default: where a target is"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every single figure as well")
    parser.add_argument("--quick", action="store_true", help="small workloads, two laps, no verdicts")
    _shared(parser, _suite, runs=5)
    verbs = parser.add_subparsers(title="other measurements")
    growth = verbs.add_parser("scale", help="growth by entries and by versions")
    growth.add_argument("--entries", type=_numbers, default=[10**3, 10**4, 10**5, 10**6], help="numbers of entries")
    growth.add_argument("--versions", type=_numbers, default=[1, 10, 100, 1000], help="numbers of versions")
    _shared(growth, _scale, runs=3)
    long = verbs.add_parser("soak", help="long fault runs")
    long.add_argument("names", nargs="*", help=f"of {', '.join(soak.SOAKS)}; default: all")
    long.add_argument("--kills", type=int, default=50_000)
    long.add_argument("--seed", type=int, default=0)
    long.set_defaults(act=_soak)
    return parser


def _shared(parser: argparse.ArgumentParser, act: Callable[[argparse.Namespace], int], *, runs: int) -> None:
    parser.add_argument("--runs", type=int, default=runs, help=f"counted laps; default: {runs}")
    parser.add_argument("--folder", type=Path, default=_disk(), help="where images are made; default: %(default)s")
    parser.add_argument("--write", action="store_true", help="renew the tables in benchmarks/README.md")
    parser.set_defaults(act=act)


def _disk() -> Path:
    # What $TMPDIR says; otherwise not /tmp, which is memory on many systems, and the images are large.
    temporary, on_disk = Path(tempfile.gettempdir()), Path("/var/tmp")  # noqa: S108 - only folders of random names
    return on_disk if temporary == Path("/tmp") and on_disk.is_dir() else temporary  # noqa: S108 - compared, not used


def _some_of(known: Collection[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        unknown = [name for name in names if name not in known]
        if unknown:
            message = f"unknown: {', '.join(unknown)} (there are: {', '.join(known)})"
            raise argparse.ArgumentTypeError(message)
        return names

    return parse


def _numbers(text: str) -> list[int]:
    return sorted(int(word) for word in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
