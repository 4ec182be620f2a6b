"""baresip phones: codecs, digits, hold, transfer in both roles, TCP and TLS.

`python -m interop.phones codecs dtmf` runs the named parts only.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from interop import (
    phones_codecs,
    phones_consult,
    phones_dtmf,
    phones_hold,
    phones_srtp,
    phones_transfer,
    phones_transports,
)
from interop.phone_client import find_baresip
from interop.report import Report, run_peer

Part = Callable[[Report], Awaitable[None]]
PARTS: dict[str, Part] = {
    "codecs": phones_codecs.run,
    "dtmf": phones_dtmf.run,
    "hold": phones_hold.run,
    "transfer": phones_transfer.run,
    "consult": phones_consult.run,
    "transports": phones_transports.run,
    "srtp": phones_srtp.run,
}
# Nearly all of it is waiting, so it runs beside the others.
SLOW_PARTS: dict[str, Part] = {"refresh": phones_hold.run_refresh}


async def run(report: Report, only: tuple[str, ...] = ()) -> None:
    """Run every part, or the named ones.

    Raises:
        NotRun: baresip is not installed.
    """
    find_baresip()
    async with trio.open_nursery() as nursery:
        for name, part in SLOW_PARTS.items():
            if not only or name in only:
                nursery.start_soon(part, report)
        for name, part in PARTS.items():
            if not only or name in only:
                await part(report)


def main() -> int:
    """Run the parts named on the command line, or all of them."""
    unknown = set(sys.argv[1:]) - {*PARTS, *SLOW_PARTS}
    if unknown:
        print(
            f"unknown: {', '.join(sorted(unknown))}; there are {', '.join((*PARTS, *SLOW_PARTS))}",
            file=sys.stderr,
        )
        return 2
    report = Report("phones")
    run_peer(report, partial(run, only=tuple(sys.argv[1:])))
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
