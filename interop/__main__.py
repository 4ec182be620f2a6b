"""Run every peer, or the named ones, such as `python -m interop sipp browsers`."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable

from interop import browsers, calls_page, media, phones, proxy, room, rtt, sipp, vendor
from interop.report import Report, run_peer

PEERS: dict[str, Callable[[Report], Awaitable[None]]] = {
    "sipp": sipp.run,
    "media": media.run,
    "phones": phones.run,
    "proxy": proxy.run,
    "rtt": rtt.run,
    "vendor": vendor.run,
    "browsers": browsers.run,
    "calls_page": calls_page.run,
    "room": room.run,
}


def main() -> int:
    """Run the peers one after another and sum up.

    Returns:
        0 when every check of every peer that ran holds, else 1; 2 for an unknown name.
    """
    names = sys.argv[1:] or list(PEERS)
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(PEERS)}", file=sys.stderr)
        return 2
    passed = failed = 0
    for name in names:
        report = Report(name)
        run_peer(report, PEERS[name])
        passed += report.passed
        failed += len(report.failures)
    print(f"interop: {passed} checks passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
