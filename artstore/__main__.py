"""`python -m artstore`: the command line, where its script is not on the path or the interpreter matters."""

from __future__ import annotations

from artstore.cli import run

if __name__ == "__main__":
    run()
