"""`python -m artstore.cli`: the command line without an installed script."""

from __future__ import annotations

import sys

from artstore.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
