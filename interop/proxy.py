"""Kamailio between two servers and their phones: transports, routes, credentials, forks, failures.

Every part of a scenario that goes through the proxy is judged at three places: the phone behind it, the
application of the server, and the proxy's own account of what came in.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

import trio

from interop import (
    proxy_auth,
    proxy_dialogs,
    proxy_forks,
    proxy_media,
    proxy_restart,
    proxy_timers,
    proxy_transports,
)
from interop.proxy_kamailio import find_kamailio
from interop.proxy_world import Scenario, World, run_scenario, world
from interop.report import Report, run_peer

SCENARIO_S = 65.0
SCENARIOS: dict[str, Scenario] = {
    **proxy_timers.SCENARIOS,  # the longest comes first
    **proxy_dialogs.SCENARIOS,
    **proxy_transports.SCENARIOS,
    **proxy_auth.SCENARIOS,
    **proxy_forks.SCENARIOS,
    **proxy_media.SCENARIOS,
    **proxy_restart.SCENARIOS,
}
AT_ONCE = 4


async def _run_all(here: World, names: list[str]) -> None:
    """Run scenarios side by side, a few at a time; the report stays in order within each."""
    limit = trio.CapacityLimiter(AT_ONCE)

    async def one(name: str) -> None:
        async with limit:
            await run_scenario(here, name, SCENARIOS[name], SCENARIO_S)

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(one, name)


async def run(report: Report, only: tuple[str, ...] = ()) -> None:
    """Run every scenario, or the named ones.

    Raises:
        NotRun: Kamailio is not installed.
    """
    find_kamailio()
    names = [name for name in SCENARIOS if not only or name in only]
    with tempfile.TemporaryDirectory(prefix="interop-proxy-") as folder:
        async with world(report, Path(folder)) as here:
            await _run_all(here, names)
            for end in (here.west, here.east):
                report.equal(await end.app.command("list_legs"), [], "no leg is left")
                report.equal(end.app.failures, [], "no event was dropped")


def main() -> int:
    """Run the scenarios named on the command line, or all of them."""
    report = Report("proxy")
    run_peer(report, partial(run, only=tuple(sys.argv[1:])))
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
