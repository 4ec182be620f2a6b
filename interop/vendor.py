"""The vendor's Python client drives vb over REST and VSI, with SIPp as the phone that it calls."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from pathlib import Path

import trio

from interop.report import NotRun, Report, run_peer
from interop.server import running_server
from interop.sipp_runner import Load, check_counts, find_sipp, free_udp_port, run_sipp

SESSION_S = 60


async def _session(report: Report, base_url: str, callee: str) -> bool:
    command = [sys.executable, "-m", "interop.vendor_session", base_url, callee]
    with trio.move_on_after(SESSION_S):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        for line in done.stdout.splitlines():
            said = json.loads(line)
            report.check(said["holds"], said["what"], said["detail"])
        trouble = done.stderr.decode(errors="replace")[-1500:]
        return report.check(done.returncode == 0, "the session ran to its end", trouble)
    return report.check(False, f"the session ran to its end within {SESSION_S} s")


async def run(report: Report) -> None:
    """Run the session against a server of its own.

    Raises:
        NotRun: the client or SIPp is not installed.
    """
    if importlib.util.find_spec("voiceblender") is None:
        raise NotRun("the voiceblender client is not installed (./run test sets it up)")
    find_sipp()
    allowed = {"VB_FETCH_ALLOW": "127.0.0.1/32"}
    load, port = Load(1, 1, SESSION_S), free_udp_port()
    with tempfile.TemporaryDirectory(prefix="interop-vendor-") as name:
        folder = Path(name)

        async def callee() -> None:
            check_counts(report, "callee", load, await run_sipp("callee", load, folder, port=port))

        async with running_server(folder, allowed) as server, trio.open_nursery() as nursery:
            nursery.start_soon(callee)
            if not await _session(report, server.rest_url, f"sip:callee@127.0.0.1:{port}"):
                nursery.cancel_scope.cancel()


def main() -> int:
    """Run the session."""
    report = Report("vendor")
    run_peer(report, run)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
