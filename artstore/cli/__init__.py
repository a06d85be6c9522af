"""Door: the command line. One command = parse, one verb, render.

Rules of this floor. `commands` knows every command by name and imports its module when the command runs, so that
`artstore --help` costs no more than click. The terminal is read here (`output`, `progress`) and nowhere below, the
environment and the home directory by `artstore.discovery`, for every door. Data goes to standard output, everything
said about it to standard error. A command returns its exit code; errors leave as exceptions and become exit codes in
`commands` alone.

Chose one static table of names and one-line helps in `commands`; instead of asking each command, which would import all
of them, and with them SQLite; because people wait for `--help`; look again when the table and the commands disagree
in spite of tests/cli/test_cli_help.py.
"""

from __future__ import annotations

from artstore.cli.commands import main, run

__all__ = ["main", "run"]
