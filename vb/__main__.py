"""The entry point of the `vb` command, which hears signals before it loads anything."""

from __future__ import annotations

import sys

from vb import early_stop


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    early_stop.watch()
    from vb.cli import run  # takes a quarter of a second

    return run(argv)


if __name__ == "__main__":
    sys.exit(main())
