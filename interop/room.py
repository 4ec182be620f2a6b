"""Two browsers, a SIP phone and a WebSocket program in one room: each hears the others, nothing of itself.

The browsers show the server's own page at `/phone`, and their microphones are tones.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from interop.application import Application, answer_into_room, application
from interop.chromium import Page, find_chromium, open_page
from interop.phone_calls import Line
from interop.phone_client import PhoneFailed, PhoneOptions, find_baresip, running_phones
from interop.report import Report, run_peer
from interop.server import Server, running_server
from interop.tones import fits, loud_bins

TOKEN = "a-token-that-nobody-guesses"
ROOM, USER = "meeting", "desk"
ANNA_HZ, BEN_HZ, PHONE_HZ, PROGRAM_HZ = TONES_HZ = (600, 1000, 1400, 1800)
RATE_HZ = 16_000
FRAME_SAMPLES = 320
FRAME_S = 0.02
LISTEN_S = 8.0
LOST_S = 9.0
RUN_S = 240.0
DESK, SMALL = (1100, 900), (360, 740)
LOUD_BINS = """(async () => {
  const context = new AudioContext({ sampleRate: 48000 });
  await context.resume();
  const analyser = context.createAnalyser();
  analyser.fftSize = 16384;
  analyser.smoothingTimeConstant = 0;
  context.createMediaStreamSource(document.getElementById('sound').srcObject).connect(analyser);
  await new Promise(resolve => setTimeout(resolve, 700));
  const levels = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(levels);
  await context.close();
  const loudest = Math.max(...levels.slice(20));
  const found = {};
  levels.forEach((level, at) => {
    if (at >= 20 && level > Math.max(loudest - 20, -80)) found[Math.round(at * 48000 / 16384)] = level;
  });
  return found;
})()"""
SPY = f"""
  window.RTCPeerConnection = class extends RTCPeerConnection {{
    constructor(...given) {{ super(...given); window.lastPeer = this; }}
  }};
  window.failures = 0;
  const ask = window.fetch;
  window.fetch = (path, request) => {{
    if (!String(path).endsWith("/v1/rooms/{ROOM}/legs") || !window.failures) return ask(path, request);
    window.failures -= 1;
    return Promise.reject(new TypeError("once"));
  }};
  undefined"""
"""Keeps the connection of the page's call, to be broken; joins fail as often as `failures` says."""
UNNAMED = """[...document.querySelectorAll('input, select, button, a, meter')].filter(node =>
  !(node.labels?.length || node.textContent.trim() || node.getAttribute('aria-label'))
).map(node => node.outerHTML)"""
SPEAKERS = "[...document.querySelectorAll('#people .speaks')].length"
PEOPLE = "document.querySelectorAll('#people li').length"


class Program:
    """A program on a WebSocket: it says a tone and keeps the last second that it hears.

    Attributes:
        texts: what was written to it.
    """

    def __init__(self, socket: WebSocketConnection, hertz: int) -> None:
        self.texts: list[str] = []
        self._socket = socket
        self._heard = bytearray()
        steps = np.arange(RATE_HZ)
        self._tone = (8000 * np.sin(2 * np.pi * hertz * steps / RATE_HZ)).astype("<i2").tobytes()

    async def speak(self) -> None:
        """Send a frame every 20 ms until the socket closes."""
        size, begun, at = 2 * FRAME_SAMPLES, trio.current_time(), 0
        try:
            while True:
                start = at * size % len(self._tone)
                await self._socket.send_message(self._tone[start : start + size])
                at += 1
                await trio.sleep_until(begun + at * FRAME_S)
        except ConnectionClosed:
            return

    async def listen(self) -> None:
        """Take what comes until the socket closes."""
        try:
            while True:
                message = await self._socket.get_message()
                if isinstance(message, str):
                    told = json.loads(message)
                    if told["type"] == "text":
                        self.texts.append(told["text"])
                    continue
                self._heard += message
                del self._heard[: -2 * RATE_HZ]
        except ConnectionClosed:
            return

    async def write(self, text: str) -> None:
        """Send text."""
        await self._socket.send_message(json.dumps({"type": "text", "text": text}))

    def bins(self) -> dict[int, float]:
        """What it has heard in the last second."""
        return loud_bins(np.frombuffer(bytes(self._heard[: len(self._heard) // 2 * 2]), np.int16), RATE_HZ)


@asynccontextmanager
async def running_program(vsi_url: str, hertz: int) -> AsyncIterator[Program]:
    """A program in the room for the time of the block."""
    url = vsi_url.replace("/v1/vsi", f"/v1/legs/websocket?room_id={ROOM}&rtt=true&app_id=program")
    async with (
        open_websocket_url(url, extra_headers=[(b"Authorization", b"Bearer " + TOKEN.encode())]) as socket,
        trio.open_nursery() as nursery,
    ):
        program = Program(socket, hertz)
        nursery.start_soon(program.speak)
        nursery.start_soon(program.listen)
        yield program
        nursery.cancel_scope.cancel()


def _others(own_hz: int) -> list[int]:
    return [hertz for hertz in TONES_HZ if hertz != own_hz]


async def page_hears(page: Page, wanted: Collection[int], unwanted: Collection[int]) -> tuple[bool, Any]:
    found: dict[int, float] = {}
    with trio.move_on_after(LISTEN_S):
        while True:
            found = {int(key): level for key, level in (await page.run(LOUD_BINS)).items()}
            if fits(found, wanted, unwanted):
                return True, found
    return False, found


async def _program_hears(
    program: Program, wanted: Collection[int], unwanted: Collection[int]
) -> tuple[bool, Any]:
    with trio.move_on_after(LISTEN_S):
        while not fits(program.bins(), wanted, unwanted):  # noqa: ASYNC110 - it is one second that is judged
            await trio.sleep(0.1)
    return fits(program.bins(), wanted, unwanted), program.bins()


async def join_room(report: Report, page: Page, name: str) -> None:
    check = report.check
    await page.resize(*DESK)
    check(await page.wait_for("document.getElementById('call')"), f"{name}: the page is there")
    await page.run("document.getElementById('clean').click()")
    await page.run(f"document.getElementById('room').value = '{ROOM}'")
    await page.run("document.getElementById('name').focus()")
    await page.ask("Input.insertText", text=name)
    await page.press("Enter")
    check(await page.wait_for("document.getElementById('ask')?.open"), f"{name}: it asks for a token")
    await page.ask("Input.insertText", text=TOKEN)
    await page.press("Enter")
    connected = "document.getElementById('state').textContent === 'Connected'"
    state = "document.getElementById('state').textContent"
    check(await page.wait_for(connected), f"{name}: Enter joins the room", await page.run(state))


async def _all_hear(report: Report, anna: Page, ben: Page, line: Any, program: Program, when: str) -> None:
    """Everybody hears everybody else and nothing of himself."""
    for page, name, own_hz in ((anna, "anna", ANNA_HZ), (ben, "ben", BEN_HZ)):
        holds, found = await page_hears(page, _others(own_hz), [own_hz])
        report.check(holds, f"{when}: {name}'s page hears the three others and not itself", found)
    heard = await line.do("listen", wanted=_others(PHONE_HZ), unwanted=[PHONE_HZ], within_s=10.0)
    report.check(bool(heard["fits"]), f"{when}: the SIP phone hears the three others and not itself", heard)
    holds, found = await _program_hears(program, _others(PROGRAM_HZ), [PROGRAM_HZ])
    report.check(holds, f"{when}: the program hears the three others and not itself", found)


async def _use(report: Report, app: Application, anna: Page, ben: Page, program: Program) -> None:
    """Use what the page has."""
    check = report.check
    check(await anna.wait_for(f"{PEOPLE} === 4"), "the page shows who is there", await anna.run(PEOPLE))
    shown = await anna.run("document.getElementById('people').textContent")
    for name in ("anna", "you", "ben", "program", "browser", "phone"):
        check(name in shown, f"the list names {name}", shown)
    check(await anna.wait_for(f"{SPEAKERS} >= 2"), "it shows who speaks", shown)
    for meter in ("spoken", "heard"):
        check(
            await anna.wait_for(f"document.getElementById('{meter}').value > 0.3"),
            f"the level {meter} is shown",
        )

    await anna.run("document.getElementById('mute').focus()")
    await anna.press("Enter")
    muted = "document.getElementById('mute').getAttribute('aria-pressed') === 'true'"
    check(await anna.wait_for(muted), "Enter on the button mutes")
    holds, found = await page_hears(ben, [PHONE_HZ, PROGRAM_HZ], [ANNA_HZ, BEN_HZ])
    check(holds, "a muted page is not heard", found)
    check(
        await ben.wait_for("document.getElementById('people').textContent.includes('muted')"),
        "the others see it",
    )
    await anna.press("Enter")
    holds, found = await page_hears(ben, _others(BEN_HZ), [BEN_HZ])
    check(holds, "it is heard again", found)

    await anna.run("document.activeElement.blur()")
    for kind in ("keyDown", "keyUp"):
        await anna.ask(
            "Input.dispatchKeyEvent", type=kind, key="5", code="Digit5", text="5" if kind == "keyDown" else ""
        )
    await anna.run(
        "[...document.querySelectorAll('#keys button')].find(item => item.textContent === '#').click()"
    )

    def digits() -> str:
        return "".join(str(event["digit"]) for event in app.events if event["type"] == "dtmf.received")

    check(
        await app.wait(lambda: digits() == "5#", 10), "keys are digits, by keyboard and by pointer", digits()
    )

    await anna.run("document.getElementById('text').focus()")
    await anna.ask("Input.insertText", text="hello program")
    await anna.press("Enter")
    with trio.move_on_after(LISTEN_S):
        while not program.texts:  # noqa: ASYNC110 - the socket's task has no event
            await trio.sleep(0.1)
    check("hello program" in "".join(program.texts), "text reaches whose call has some", program.texts)
    await program.write("hello anna\n")
    shown = "document.getElementById('texts').textContent.includes('program: hello anna')"
    check(await anna.wait_for(shown), "and comes from there")
    report.equal(await anna.run(UNNAMED), [], "everything that can be used has a name, but for")


async def _lose_network(report: Report, server: Server, anna: Page) -> None:
    """Nothing comes from the server for a while."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        lost = await anna.wait_for("document.getElementById('state').className === 'bad'")
    finally:
        os.kill(server.pid, signal.SIGCONT)
    report.check(lost, "a page that the network has lost says so")
    back = await anna.wait_for("document.getElementById('state').textContent === 'Connected'")
    report.check(back, "it reconnects", await anna.run("document.getElementById('state').textContent"))


async def _restart_ice(report: Report, app: Application, server: Server, anna: Page) -> None:
    """The network is away for so long that the page makes a new offer for the leg that it has."""
    before, offers = await _browser_legs(app), _offers(anna)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with trio.move_on_after(LOST_S * 2):
            while _offers(anna) == offers:  # noqa: ASYNC110 - the page's requests have no event
                await trio.sleep(0.1)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    report.check(_offers(anna) > offers, "a page that the network has lost for longer makes a new offer")
    back = await anna.wait_for("document.getElementById('state').textContent === 'Connected'")
    report.check(
        back, "and is connected again", await anna.run("document.getElementById('state').textContent")
    )
    report.equal(await _browser_legs(app), before, "by an ICE restart: the legs are the same")


def _offers(page: Page) -> int:
    return sum(url.endswith("/v1/webrtc/offer") for url in page.requested)


async def _browser_legs(app: Application) -> list[str]:
    legs = await app.command("list_legs")
    assert isinstance(legs, list)
    return sorted(str(leg["id"]) for leg in legs if leg["type"] == "webrtc")


async def _hang_up(report: Report, app: Application, anna: Page, ben: Page) -> None:
    check = report.check
    await anna.run("document.getElementById('hangup').focus()")
    await anna.press("Enter")
    check(await anna.wait_for("document.getElementById('state').textContent === 'Hung up'"), "Enter hangs up")
    check(await ben.wait_for(f"{PEOPLE} === 3"), "the others see it", await ben.run(PEOPLE))
    legs = await app.command("list_legs")
    assert isinstance(legs, list)
    legs = [leg for leg in legs if leg["type"] == "webrtc"]
    report.equal(len(legs), 1, "the leg of the page is gone, and ben's is not")
    await app.command("delete_leg", id=legs[0]["id"])
    told = "document.getElementById('state').textContent === 'The other side hung up'"
    check(await ben.wait_for(told), "a page that is hung up says so")


async def _in_room(app: Application) -> list[object]:
    """Wait until one browser's call is in the room; returns where all of them are."""
    rooms: list[object] = []
    for _ in range(100):
        legs = await app.command("list_legs")
        assert isinstance(legs, list)
        rooms = [leg.get("room_id") for leg in legs if leg["type"] == "webrtc"]
        if rooms == [ROOM]:
            break
        await trio.sleep(0.1)
    return rooms


async def _trouble(report: Report, app: Application, anna: Page) -> None:
    """A server that is away when a call begins, and a room that cannot be joined at once."""
    state, join = "document.getElementById('state').textContent", "document.getElementById('call').click()"
    slow = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    await anna.ask("Network.emulateNetworkConditions", offline=True, **slow)
    await anna.run(join)
    told = await anna.wait_for(f"{state} === 'The server cannot be reached.'")
    report.check(told, "a page says why it cannot call", await anna.run(state))
    await anna.ask("Network.emulateNetworkConditions", offline=False, **slow)
    await anna.run(SPY)
    await anna.run(join)
    report.check(
        await anna.wait_for(f"{state} === 'Connected'"), "and calls when it can", await anna.run(state)
    )
    await _in_room(app)
    await anna.run("failures = 1, lastPeer.close()")
    await anna.wait_for(f"failures === 0 && {state} === 'Connected'")
    rooms = await _in_room(app)
    report.equal(rooms, [ROOM], "a page that calls again is in its room, although that failed once")
    await anna.run("document.getElementById('hangup').click()")


async def _read_documents(report: Report, page: Page, server: Server, pictures: Path) -> None:
    await page.resize(*DESK)
    await page.ask("Page.navigate", url=f"{server.http_url}/docs")
    report.check(
        await page.wait_for("document.getElementById('find')?.hidden === false"), "/docs has a filter"
    )
    await page.run("document.getElementById('filter').focus()")
    await page.ask("Input.insertText", text="send_leg_dtmf")
    left = "[...document.querySelectorAll('article')].filter(item => !item.hidden).length"
    report.check(0 < await page.run(left) < 10, "it shows what has its words", await page.run(left))
    await page.shoot(pictures / "docs-desk.png")


async def _meet(report: Report, folder: Path, pictures: Path) -> None:
    settings = {"VB_API_TOKENS": TOKEN, "ICE_SERVERS": "none"}
    for name in ("anna", "ben"):
        (folder / name).mkdir()
    async with (
        running_server(folder, settings) as server,
        application(server.vsi_url, {USER: answer_into_room(ROOM)}, TOKEN) as app,
        running_phones(PhoneOptions(USER, PHONE_HZ)) as (phone,),
        open_page(folder / "anna", f"{server.http_url}/phone", ANNA_HZ) as anna,
        open_page(folder / "ben", f"{server.http_url}/phone", BEN_HZ) as ben,
    ):
        await join_room(report, anna, "anna")
        await join_room(report, ben, "ben")
        dialled = await phone.do("dial", to=server.sip_uri(USER), headers=None)

        line = Line(phone, int(str(dialled["call"])), "")
        await phone.event("call_established", line.call)
        async with running_program(server.vsi_url, PROGRAM_HZ) as program:
            await _all_hear(report, anna, ben, line, program, "in the room")
            await _use(report, app, anna, ben, program)
            await anna.shoot(pictures / "phone-desk.png")
            await anna.resize(*SMALL)
            fits_in = "document.documentElement.scrollWidth <= 360"
            report.check(await anna.wait_for(fits_in), "the phone fits into 360 pixels")
            await anna.shoot(pictures / "phone-small.png")
            await _lose_network(report, server, anna)
            await _all_hear(report, anna, ben, line, program, "after the loss")
            await _restart_ice(report, app, server, anna)
            await _all_hear(report, anna, ben, line, program, "after an ICE restart")
            await _hang_up(report, app, anna, ben)
            await _trouble(report, app, anna)
        await line.do("hangup")
        for page in (anna, ben):
            strangers = [url for url in page.requested if not url.startswith((server.http_url, "data:"))]
            report.equal(strangers, [], "nothing comes from another host, but for")
            usual = ("401", "404", "409", "ERR_INTERNET_DISCONNECTED")
            problems = [text for text in page.problems if not any(word in text for word in usual)]
            report.equal(problems, [], "no script fails and no policy is broken, but for")
        await ben.ask("Page.navigate", url=f"{server.http_url}/")
        await ben.resize(*DESK)
        report.check(
            await ben.wait_for("document.querySelector('a[href=\"/phone\"]')"), "/ leads to the phone"
        )
        await ben.shoot(pictures / "home-desk.png")
        await ben.resize(*SMALL)
        report.check(await ben.wait_for(fits_in), "/ fits into 360 pixels")
        await ben.shoot(pictures / "home-small.png")
        await _read_documents(report, ben, server, pictures)


async def meeting(
    report: Report, meet: Callable[[Report, Path, Path], Awaitable[None]], limit_s: float
) -> None:
    """Let pages and a phone meet, with a folder for what they write and one for pictures.

    Raises:
        NotRun: Chromium or baresip is not installed.
    """
    find_chromium()
    find_baresip()
    keep = os.environ.get("INTEROP_PICTURES")  # noqa: TID251 - says where pictures go, sets nothing of vb
    with tempfile.TemporaryDirectory(prefix="interop-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with trio.move_on_after(limit_s) as scope:
            try:
                await meet(report, folder, Path(keep) if keep else folder)
            except* PhoneFailed as problems:
                report.check(False, "the phone does as it is told", problems.exceptions)
        report.check(not scope.cancelled_caught, f"all is over within {limit_s:g} s")


async def run(report: Report) -> None:
    """Let them meet.

    Raises:
        NotRun: Chromium or baresip is not installed.
    """
    await meeting(report, _meet, RUN_S)


def main() -> int:
    """Run the meeting."""
    report = Report("room")
    run_peer(report, run)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
