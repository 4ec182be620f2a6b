"""Two browsers with the server's page `/moq` and a SIP phone in one room: each hears the others by MoQ.

The browsers' microphones are tones. WebTransport and MoQ are Chromium's and the page's own, nothing of the
server's is at their end.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import trio

from interop.application import Application, answer_into_room, application
from interop.chromium import Page, open_page
from interop.phone_calls import Line
from interop.phone_client import PhoneOptions, running_phones
from interop.report import Report, run_peer
from interop.room import ROOM, SMALL, TOKEN, UNNAMED, USER, join_room, meeting, page_hears
from interop.server import running_server

ANNA_HZ, BEN_HZ, PHONE_HZ = TONES_HZ = (600, 1000, 1400)
TALK_S = 5.0
RUN_S = 150.0
SETTINGS = {
    "VB_API_TOKENS": TOKEN,
    "ICE_SERVERS": "none",
    "MOQ_ENABLED": "true",
    "MOQ_LISTEN_ADDR": "127.0.0.1:0",
}


def _others(own_hz: int) -> list[int]:
    return [hertz for hertz in TONES_HZ if hertz != own_hz]


async def _hears(
    report: Report, page: Page, name: str, wanted: Collection[int], unwanted: Collection[int], what: str
) -> None:
    holds, found = await page_hears(page, wanted, unwanted)
    report.check(holds, f"{name} {what}", found)


async def _all_hear(report: Report, anna: Page, ben: Page, line: Line) -> None:
    """Everybody hears everybody else and nothing of himself."""
    for page, name, own_hz in ((anna, "anna", ANNA_HZ), (ben, "ben", BEN_HZ)):
        await _hears(report, page, name, _others(own_hz), [own_hz], "hears the others and not herself")
    heard = await line.do("listen", wanted=_others(PHONE_HZ), unwanted=[PHONE_HZ], within_s=10.0)
    report.check(bool(heard["fits"]), "the SIP phone hears both pages and not itself", heard)


async def _frames(page: Page) -> list[int]:
    """How many frames a page has sent, heard and dropped."""
    shown = await page.run("document.getElementById('figures').textContent.match(/[0-9]+/g)")
    return [int(value) for value in shown]


async def _keep_on(report: Report, page: Page) -> None:
    """Frames go at their rate, both ways."""
    before, begun = await _frames(page), trio.current_time()
    await trio.sleep(TALK_S)
    after, took_s = await _frames(page), trio.current_time() - begun
    rates = [(now - then) / took_s for now, then in zip(after, before, strict=True)]
    report.check(all(45 < rate < 55 for rate in rates[:2]), "about 50 frames a second go each way", rates)
    report.equal(after[2], 0, "frames that could not leave")


async def _use(report: Report, anna: Page, ben: Page, pictures: Path) -> None:
    for meter in ("spoken", "heard"):
        shown = f"document.getElementById('{meter}').value > 0.3"
        report.check(await anna.wait_for(shown), f"the level {meter} is shown")
    await anna.run("document.getElementById('mute').focus()")
    await anna.press("Enter")
    muted = "document.getElementById('mute').getAttribute('aria-pressed') === 'true'"
    report.check(await anna.wait_for(muted), "Enter on the button mutes")
    await _hears(report, ben, "ben", [PHONE_HZ], [ANNA_HZ, BEN_HZ], "hears nothing of a muted page")
    await anna.press("Enter")
    await _hears(report, ben, "ben", _others(BEN_HZ), [BEN_HZ], "hears it again")
    report.equal(await anna.run(UNNAMED), [], "everything that can be used has a name, but for")
    await anna.shoot(pictures / "moq-desk.png")
    await anna.resize(*SMALL)
    fits_in = "document.documentElement.scrollWidth <= 360"
    report.check(await anna.wait_for(fits_in), "the page fits into 360 pixels")
    await anna.shoot(pictures / "moq-small.png")


async def _hang_up(report: Report, app: Application, anna: Page, ben: Page) -> None:
    legs: Any = await app.command("list_legs")
    ours = {str(leg["app_id"]): str(leg["id"]) for leg in legs if leg["type"] == "moq_in"}
    report.equal(sorted(ours), ["anna", "ben"], "both are MoQ legs")
    await anna.run("document.getElementById('hangup').focus()")
    await anna.press("Enter")
    over = await app.wait_for(ours["anna"], "leg.disconnected", 10.0)
    reason = None if over is None else over["cdr"]
    report.check(isinstance(reason, dict) and reason["reason"] == "hangup", "Enter hangs up", over)
    await app.command("delete_leg", id=ours["ben"])
    told = "document.getElementById('state').textContent === 'The other side hung up'"
    state = "document.getElementById('state').textContent"
    report.check(await ben.wait_for(told), "a page that is hung up says so", await ben.run(state))


async def _meet(report: Report, folder: Path, pictures: Path) -> None:
    for name in ("anna", "ben"):
        (folder / name).mkdir()
    async with (
        running_server(folder, SETTINGS) as server,
        application(server.vsi_url, {USER: answer_into_room(ROOM)}, TOKEN) as app,
        running_phones(PhoneOptions(USER, PHONE_HZ)) as (phone,),
        open_page(folder / "anna", f"{server.http_url}/moq", ANNA_HZ) as anna,
        open_page(folder / "ben", f"{server.http_url}/moq", BEN_HZ) as ben,
    ):
        await join_room(report, anna, "anna")
        await join_room(report, ben, "ben")
        dialled = await phone.do("dial", to=server.sip_uri(USER), headers=None)
        line = Line(phone, int(str(dialled["call"])), "")
        await phone.event("call_established", line.call)
        await _all_hear(report, anna, ben, line)
        await _keep_on(report, anna)
        await _use(report, anna, ben, pictures)
        await _hang_up(report, app, anna, ben)
        await line.do("hangup")
        for page in (anna, ben):
            problems = [text for text in page.problems if not any(word in text for word in ("401", "404"))]
            report.equal(problems, [], "no script fails and no policy is broken, but for")


async def run(report: Report) -> None:
    """Let them meet.

    Raises:
        NotRun: Chromium or baresip is not installed.
    """
    await meeting(report, _meet, RUN_S)


def main() -> int:
    """Run the meeting."""
    report = Report("moq")
    run_peer(report, run)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
