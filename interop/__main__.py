"""Run every peer, or the named ones, such as `python -m interop sipp browsers`."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable

from interop import (
    browsers,
    calls_page,
    chat,
    media,
    moq,
    phone_page,
    phones,
    pipecat_calls,
    pipecat_speech,
    proxy,
    relays,
    room,
    rtt,
    sipp,
    speech,
    talk,
    vendor,
)
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
    "phone_page": phone_page.run,
    "moq": moq.run,
    "relays": relays.run,
    "pipecat": pipecat_calls.run,
    "pipecat_speech": pipecat_speech.run,
    "chat": chat.run,
    "speech": speech.run,
    "talk": talk.run,
}
APART = frozenset({"speech", "talk"})
"""Peers that run only when they are named: they need more than a machine has by default."""


def main() -> int:
    """Run the peers one after another and sum up.

    These checks hear and time real programs, so a machine that stalls for a moment can fail one that holds:
    a peer with a failure runs once more by itself at the end, and its second run counts.

    Returns:
        0 when every check of every peer that ran holds, else 1; 2 for an unknown name.
    """
    names = sys.argv[1:] or [name for name in PEERS if name not in APART]
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(PEERS)}", file=sys.stderr)
        return 2
    reports = {name: _run(name) for name in names}
    for name in [name for name, report in reports.items() if report.failures]:
        print(f"{name}: once more, because of {len(reports[name].failures)} that failed", flush=True)
        reports[name] = _run(name)
    passed = sum(report.passed for report in reports.values())
    failed = sum(len(report.failures) for report in reports.values())
    print(f"interop: {passed} checks passed, {failed} failed", flush=True)
    return 1 if failed else 0


def _run(name: str) -> Report:
    report = Report(name)
    run_peer(report, PEERS[name])
    return report


if __name__ == "__main__":
    sys.exit(main())
