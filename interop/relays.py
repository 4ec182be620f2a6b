"""Chromium through coturn: both ends go through relays only, and an ICE restart finds them again."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from interop.application import Application, application
from interop.browser import Browser, BrowserFailed, open_browser
from interop.chromium import find_chromium
from interop.processes import reaped
from interop.report import NotRun, Report
from interop.server import running_server

CAROL_HZ, DAVE_HZ = 700.0, 1100.0
ROOM = "relays"
USER, PASSWORD = "caller", "secret"
START_S = 15.0
RUN_S = 150.0


@asynccontextmanager
async def running_coturn(folder: Path) -> AsyncIterator[int]:
    """Run coturn for the time of the block; the value is its port.

    Raises:
        NotRun: it is not installed.
    """
    program = shutil.which("turnserver")
    if program is None:
        raise NotRun("coturn is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [program, "-n", "-a", "-u", f"{USER}:{PASSWORD}", "-r", "example.org", "-p", str(port)]
    command += ["-L", "127.0.0.1", "-E", "127.0.0.1", "--allow-loopback-peers", "--no-tls", "--no-dtls"]
    command += ["--no-cli", "--log-file", "stdout", "--pidfile", str(folder / "pid"), "--no-rfc5780"]
    command += ["--db", str(folder / "db"), "-m", "1"]
    process = await trio.lowlevel.open_process(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
    )
    async with reaped(process):
        with trio.fail_after(START_S):
            while True:
                try:
                    await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                    break
                except OSError:
                    await trio.sleep(0.05)
        yield port


async def _call(report: Report, app: Application, browser: Browser, name: str, turn: dict[str, str]) -> None:
    await browser.call(turn=turn)
    await app.command("add_leg_to_room", room_id=ROOM, leg_id=browser.leg_id)
    connected = await app.wait_for(browser.leg_id, "leg.connected", 20)
    report.check(connected is not None, f"{name}: leg.connected comes")
    route = await browser.tell("route")
    report.equal(route.get("local"), "relay", f"{name}: the page sends through its relay")
    # The address of our relay may be learnt from a check before it is told.
    report.check(route.get("remote") in ("relay", "prflx"), f"{name}: to the server's relay", route)


async def _talk(report: Report, app: Application, carol: Browser, dave: Browser, port: int) -> None:
    for browser, name, transport in ((carol, "carol", "udp"), (dave, "dave", "tcp")):
        url = f"turn:127.0.0.1:{port}?transport={transport}"
        await _call(report, app, browser, name, {"urls": url, "username": USER, "credential": PASSWORD})
    report.check(await carol.hears(DAVE_HZ, (CAROL_HZ,)), "carol hears dave and not herself")
    report.check(await dave.hears(CAROL_HZ, (DAVE_HZ,)), "dave hears carol and not himself")
    await carol.tell("restart")
    await carol.reaches("connected")
    report.check(await carol.hears(DAVE_HZ), "carol hears dave after an ICE restart")
    report.check(await dave.hears(CAROL_HZ), "dave hears carol after it")
    route = await carol.tell("route")
    report.equal(route.get("local"), "relay", "and the page still sends through its relay")
    await carol.tell("close")
    ended = await app.wait_for(carol.leg_id, "leg.disconnected", 10)
    report.check(ended is not None, "a page's goodbye comes through the relays")


async def run(report: Report) -> None:
    """Let two pages meet through relays.

    Raises:
        NotRun: Chromium or coturn is not installed.
    """
    find_chromium()
    with tempfile.TemporaryDirectory(prefix="interop-relays-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with running_coturn(folder) as port:
            servers = {"ICE_SERVERS": f"turn:{USER}:{PASSWORD}@127.0.0.1:{port}"}
            async with running_server(folder, servers) as server, application(server.vsi_url, {}) as app:
                url = server.http_url
                with trio.move_on_after(RUN_S) as scope:
                    try:
                        async with (
                            open_browser(folder, "carol", CAROL_HZ, url) as carol,
                            open_browser(folder, "dave", DAVE_HZ, url) as dave,
                        ):
                            await _talk(report, app, carol, dave, port)
                    except* BrowserFailed as problems:
                        report.check(False, "the pages do as they are told", problems.exceptions)
                report.check(not scope.cancelled_caught, f"all is over within {RUN_S:g} s")
