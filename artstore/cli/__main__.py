"""`python -m artstore.cli`: the command line without an installed script."""

from __future__ import annotations

from artstore.cli.commands import run

if __name__ == "__main__":
    run()
