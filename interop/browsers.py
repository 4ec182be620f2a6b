"""Two Chromiums in one room: each hears the other and nothing of itself, whatever is done to their calls."""

from __future__ import annotations

import tempfile
from pathlib import Path

import trio

from interop.application import Application, application
from interop.browser import Browser, BrowserFailed, open_browser
from interop.chromium import find_chromium
from interop.report import Report
from interop.server import Server, running_server

ALICE_HZ, BOB_HZ = 600.0, 1000.0
ROOM = "browsers"
RUN_S = 180.0
TALK_S = 3.0
MOST_PACKETS_PER_S = 8.0


async def _joined(
    browser: Browser, app: Application, report: Report, name: str, *, video: bool = False, first: bool = False
) -> None:
    sdp = await browser.call(video=video, first=first)
    if first:
        report.check("a=inactive" in sdp.split("m=")[1], f"{name}: video before the audio stays, silent", sdp)
    if video:
        rejected = [line for line in sdp.splitlines() if line.startswith(("m=video 0", "m=application 0"))]
        report.check(len(rejected) == 2, f"{name}: video and data are answered as refused", sdp)
    await app.command("add_leg_to_room", room_id=ROOM, leg_id=browser.leg_id)
    connected = await app.wait_for(browser.leg_id, "leg.connected")
    report.check(connected is not None, f"{name}: leg.connected comes")


async def _talk(report: Report, app: Application, alice: Browser, bob: Browser) -> None:
    await _joined(alice, app, report, "alice", first=True)
    await _joined(bob, app, report, "bob", video=True)
    report.check(await alice.hears(BOB_HZ, (ALICE_HZ,)), "alice hears bob and not herself")
    report.check(await bob.hears(ALICE_HZ, (BOB_HZ,)), "bob hears alice and not himself")
    await _digits(report, app, alice)
    await _mute(report, alice, bob)
    await _restart(report, alice, bob)
    await trio.sleep(TALK_S)
    figures = await alice.tell("figures")
    report.check(figures["lost"] == 0 and figures["received"] > 25, "no packet is lost on loopback", figures)
    report.check("GCM" in str(figures["cipher"]), "the page protects its media by AES-GCM", figures)


async def _digits(report: Report, app: Application, alice: Browser) -> None:
    await alice.tell("press", digits="5#")

    def digits() -> str:
        found = [event for event in app.events if event["type"] == "dtmf.received"]
        return "".join(str(event["digit"]) for event in found if event["leg_id"] == alice.leg_id)

    report.check(await app.wait(lambda: digits() == "5#", 5), "digits of the page are told", digits())


async def _mute(report: Report, alice: Browser, bob: Browser) -> None:
    await alice.tell("mute", muted=True)
    report.check(await bob.is_still(ALICE_HZ), "a muted page is not heard")
    before = await alice.tell("figures")
    await trio.sleep(TALK_S)
    sent = (await alice.tell("figures"))["sent"] - before["sent"]
    most = TALK_S * MOST_PACKETS_PER_S
    report.check(
        0 < sent <= most, f"it pauses, as it is asked to: at most {most:g} packets in {TALK_S:g} s", sent
    )
    await alice.tell("mute", muted=False)
    report.check(await bob.hears(ALICE_HZ), "it is heard again")


async def _restart(report: Report, alice: Browser, bob: Browser) -> None:
    await alice.tell("restart")
    await alice.reaches("connected")
    report.check(await alice.hears(BOB_HZ), "alice hears bob after an ICE restart")
    report.check(await bob.hears(ALICE_HZ), "bob hears alice after it")


async def _leave(report: Report, app: Application, server: Server, alice: Browser, bob: Browser) -> None:
    await alice.tell("close")
    ended = await app.wait_for(alice.leg_id, "leg.disconnected", 10)
    report.check(ended is not None, "a page that closes its connection ends its leg")
    report.check(await bob.is_still(ALICE_HZ), "bob hears nothing any more")
    await app.command("delete_leg", id=bob.leg_id)
    ended = await app.wait_for(bob.leg_id, "leg.disconnected", 10)
    report.check(ended is not None, "the server hangs up the other one")
    report.check(await bob.reaches("closed", "disconnected", "failed"), "and its page notices")


async def run(report: Report) -> None:
    """Run the calls against a server of their own.

    Raises:
        NotRun: Chromium is not installed.
    """
    find_chromium()
    with tempfile.TemporaryDirectory(prefix="interop-browsers-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with running_server(folder) as server, application(server.vsi_url, {}) as app:
            url = server.http_url
            with trio.move_on_after(RUN_S) as scope:
                try:
                    async with (
                        open_browser(folder, "alice", ALICE_HZ, url) as alice,
                        open_browser(folder, "bob", BOB_HZ, url) as bob,
                    ):
                        await _talk(report, app, alice, bob)
                        await _leave(report, app, server, alice, bob)
                except* BrowserFailed as problems:
                    report.check(False, "the pages do as they are told", problems.exceptions)
            report.check(not scope.cancelled_caught, f"all is over within {RUN_S:g} s")
