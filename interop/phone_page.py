"""A browser's phone in trouble: what its page does where calls, tokens, networks and devices fail."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import trio
from trio_websocket import open_websocket_url

from interop.chromium import Page, open_page
from interop.report import Report, run_peer
from interop.server import Server, running_server

TOKEN: Final = "ein-Schlüssel-den-niemand-errät"
TONE_HZ: Final = 600
STATE: Final = "document.getElementById('state').textContent"
ASKS: Final = "document.getElementById('ask')?.open"
SETTLE_S: Final = 1.0
WAIT_S: Final = 10.0
POLL_S: Final = 0.1
RUN_S: Final = 240.0
NO_LIMITS: Final = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}


@dataclass(frozen=True, slots=True)
class Desk:
    """A browser at the page, and a client that sees what the server has."""

    report: Report
    server: Server
    page: Page
    client: httpx.AsyncClient

    async def legs(self) -> list[dict[str, Any]]:
        """The calls that there are."""
        found: list[dict[str, Any]] = (await self.client.get("/v1/legs")).json()
        return found

    async def holds(self, question: Callable[[], Awaitable[bool]]) -> bool:
        """Wait until the server says so; False when that takes too long."""
        with trio.move_on_after(WAIT_S):
            while not await question():  # noqa: ASYNC110 - the server tells it nowhere
                await trio.sleep(POLL_S)
            return True
        return False

    async def idle(self) -> bool:
        """Say whether there are no calls."""
        return not await self.legs()

    async def told(self) -> bool:
        """Say whether somebody gets events."""
        return await self.figure("vsi_clients") > 0

    async def figure(self, name: str) -> float:
        """A gauge of the server."""
        lines = (await self.client.get("/metrics")).text.splitlines()
        return next(
            float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"voiceblender_{name} ")
        )

    async def check(self, script: str, what: str) -> bool:
        """Check that an expression becomes true in the page."""
        return self.report.check(await self.page.wait_for(script), what, await self.page.run(STATE))

    async def click(self, name: str) -> None:
        """Use a button."""
        await self.page.run(f"document.getElementById('{name}').click()")

    async def give_token(self, text: str) -> None:
        """Fill in the token that the page asks for."""
        await self.page.wait_for(ASKS)
        await self.page.run(f"document.getElementById('token').value = {json.dumps(text)}")
        await self.page.press("Enter")

    async def join(self) -> None:
        """Call, and wait until the call is up."""
        await self.click("call")
        await self.check(f"{STATE} === 'Connected'", "the page joins")

    async def hang_up(self) -> None:
        """End the call."""
        await self.click("hangup")
        await self.page.wait_for("!document.getElementById('call').disabled")


async def _tokens(desk: Desk) -> None:
    """Tokens that are pasted badly, forgotten in mid call, or given while an old one is still refused."""
    page, report = desk.page, desk.report
    await page.run("sessionStorage.clear()")
    await desk.click("call")
    await desk.give_token("tok\u200ben")
    await desk.check(
        "document.getElementById('ask-problem')?.textContent === 'That token was not right.'",
        "a token that no header can hold as it is counts as any other wrong one",
    )
    await desk.give_token(f"{TOKEN} ")
    await desk.check(
        f"{STATE} === 'Connected'", "a token with letters of any language and a blank at its end is taken"
    )
    report.check(await desk.holds(desk.told), "for the events too")
    await desk.click("forget")
    over = await desk.holds(desk.idle)
    await trio.sleep(SETTLE_S)
    report.check(
        not await page.run(f"Boolean({ASKS})"), "who forgets the token in a call is not asked for it again"
    )
    report.check(over, "and is hung up")
    await page.run(SPY)
    for path in ("elsewhere", "offer"):
        await page.run(f"sessionStorage.setItem('vb token', {json.dumps(TOKEN)}), hold('{path}')")
        await page.run("document.getElementById('room').value = 'elsewhere'")
        await desk.click("call")
        await trio.sleep(SETTLE_S)
        await desk.click("forget")
        await page.run("held = {}, letGo()")
        await trio.sleep(SETTLE_S)
        report.check(not await page.run(f"Boolean({ASKS})"), f"nor in one that begins, by {path}")
        report.equal(await desk.legs(), [], "calls that are left of it")
    await page.run("""
      window.late = fetch;
      const later = new Promise((resolve) => setTimeout(resolve, 2000));
      window.fetch = async (path, request) => {
        const answer = await late(path, request);
        if (path === "/v1/rooms" && answer.status === 401) await later;
        return answer;
      };
      window.found = 0;
      import("/calls/server.js").then(({ read }) => {
        for (const path of ["/v1/legs", "/v1/rooms"]) read(path).then(() => { found += 1; });
      });
      undefined""")
    await desk.give_token(TOKEN)
    await desk.check("found === 2", "a late refusal of no token does not forget the one that was given since")
    await page.run("window.fetch = late; undefined")


SPY: Final = """
  window.peers = [];
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...given) { super(...given); peers.push(this); }
  };
  window.streams = [];
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (...given) => {
    await window.heldMicrophone;
    const stream = await open(...given);
    streams.push(stream);
    return stream;
  };
  const ask = window.fetch;
  window.held = {};
  window.fetch = async (path, request) => {
    await window.held[String(path).split("/").at(-1)];
    return ask(path, request);
  };
  window.hold = (path) => { held[path] = new Promise((resolve) => { window.letGo = resolve; }); };
  undefined"""
"""Keeps what the page opens; `hold` lets requests whose path ends in a word wait for `letGo`."""
OPEN: Final = """({
  peers: peers.filter((peer) => peer.connectionState !== "closed").length,
  streams: streams.filter((stream) => stream.getTracks().some((track) => track.readyState === "live")).length,
})"""


async def _beginnings(desk: Desk) -> None:
    """Calls that are hung up, or whose network comes back, while they begin."""
    page, report = desk.page, desk.report
    await page.run(SPY)
    await page.run("hold('offer')")
    await desk.click("call")
    await page.wait_for("peers.length === 1")
    await trio.sleep(SETTLE_S)
    await page.run("dispatchEvent(new Event('online')) && undefined")
    await trio.sleep(SETTLE_S)
    await page.run("letGo()")
    await desk.check(
        f"{STATE} === 'Connected'", "a network that comes back while a call begins does not begin another"
    )
    report.equal(len(await desk.legs()), 1, "calls")
    await desk.hang_up()
    await trio.sleep(SETTLE_S)
    report.equal(await page.run(OPEN), {"peers": 0, "streams": 0}, "what calls leave open")
    await page.run("held = {}, hold('lobby')")
    await desk.click("call")
    await desk.check(
        "!document.getElementById('hangup').disabled", "a call can be hung up before its room is there"
    )
    await desk.click("hangup")
    await page.run("letGo()")
    await desk.check(f"{STATE} === 'Hung up'", "and is")
    await page.run("held = {}, hold('legs')")
    await desk.click("call")
    await page.wait_for("peers.length === 2")
    await trio.sleep(SETTLE_S)
    await desk.click("hangup")
    await page.run("letGo()")
    report.check(await desk.holds(desk.idle), "a call that is hung up on its way into the room is over")
    report.equal(await page.run(OPEN), {"peers": 0, "streams": 0}, "what calls leave open")


async def _texts(desk: Desk) -> None:
    """What others write, and what is written while the server is away."""
    page, report = desk.page, desk.report
    await page.resize(360, 640)
    await page.run("""import("/phone/people.js").then(({ People }) => {
      const people = new People(
        document.createElement("ul"), document.createElement("p"), document.getElementById("texts"));
      people.legs = [{ id: "a", app_id: "A" }, { id: "b", app_id: "B" }];
      people.call = { leg: "c", room: "lobby" };
      scrollTo(0, 0);
      const texts = [["a", "one\\r\\ntwo\\n"], ["a", "H"], ["b", "W"], ["a", "ix\\b"], ["b", "e\\n"]];
      for (const [leg, text] of texts)
        people.take({ type: "rtt.received", leg_id: leg, text });
    })""")
    lines = await page.run("[...document.getElementById('texts').children].map((line) => line.textContent)")
    report.equal(lines, ["A: one", "A: two", "A: Hi", "B: We"], "each who writes has lines of his own")
    report.equal(await page.run("scrollY"), 0, "and leaves a small page where it is")
    await desk.join()
    async with open_websocket_url(
        f"{desk.server.http_url.replace('http', 'ws', 1)}/v1/legs/websocket?room_id=lobby&rtt=true",
        extra_headers=[(b"Authorization", b"Bearer " + TOKEN.encode())],
    ):
        await page.wait_for("document.querySelectorAll('#people li').length === 2")
        await page.ask("Network.emulateNetworkConditions", offline=True, **NO_LIMITS)
        await page.run("document.getElementById('text').value = 'hello'")
        await desk.click("send")
        await desk.check(
            f"{STATE} === 'The server cannot be reached.'", "text that cannot be sent is told of"
        )
        report.equal(await page.run("document.getElementById('text').value"), "hello", "and kept")
        await page.ask("Network.emulateNetworkConditions", offline=False, **NO_LIMITS)
        await desk.click("send")
        sent = "document.getElementById('texts').textContent.includes('You: hello')"
        await desk.check(sent, "so that it can be sent again")
    await desk.hang_up()


async def _devices(desk: Desk) -> None:
    """A microphone that is unplugged in a call, and one that is chosen when it is over."""
    page, report = desk.page, desk.report
    await page.run(SPY)
    await desk.join()
    await page.run("""
      const track = streams.at(-1).getTracks()[0];
      track.stop();
      track.dispatchEvent(new Event("ended"));""")
    await desk.check(
        f"{STATE}.startsWith('The microphone was unplugged')", "a page tells of a microphone that is gone"
    )
    report.equal((await page.run(OPEN))["streams"], 1, "and takes the next")
    await page.run("window.heldMicrophone = new Promise((resolve) => { window.letGo = resolve; }); undefined")
    await desk.click("clean")
    await desk.hang_up()
    await page.run("letGo()")
    await page.wait_for("streams.length === 3")
    await trio.sleep(SETTLE_S)
    report.equal(await page.run(STATE), "Hung up", "a microphone for a call that is over is not told of")
    report.equal((await page.run(OPEN))["streams"], 0, "and closed")


async def _muting(desk: Desk) -> None:
    """A page that is unmuted while the server is away."""
    page = desk.page

    async def is_muted() -> bool:
        return [leg["muted"] for leg in await desk.legs()] == [True]

    async def is_heard() -> bool:
        return [leg["muted"] for leg in await desk.legs()] == [False]

    await desk.join()
    await desk.click("mute")
    desk.report.check(await desk.holds(is_muted), "the server knows who is muted")
    await page.ask("Network.emulateNetworkConditions", offline=True, **NO_LIMITS)
    await desk.click("mute")
    await trio.sleep(SETTLE_S)
    await page.ask("Network.emulateNetworkConditions", offline=False, **NO_LIMITS)
    desk.report.check(await desk.holds(is_heard), "and who is not any more, also if it was away then")
    await page.run(SPY)
    await desk.hang_up()
    await desk.join()
    await page.run("hold('mute')")
    await desk.click("mute")
    await page.run("peers.at(-1).close(); dispatchEvent(new Event('online')) && undefined")
    await page.wait_for("peers.length === 2 && peers[1].connectionState === 'connected'")
    await trio.sleep(SETTLE_S)
    await page.run("held = {}, letGo()")
    desk.report.check(await desk.holds(is_muted), "and also in a call that was begun anew meanwhile")
    await desk.hang_up()


async def _without_events(desk: Desk) -> None:
    """Calls that others join and end while the page gets no events."""
    page, report = desk.page, desk.report
    await page.run("""
      window.WebSocket = class {
        constructor() { setTimeout(() => this.onclose?.(), 50); }
        close() {}
      };
      const ask = window.fetch;
      let asked = false;
      window.fetch = async (path, request) => {
        const answer = await ask(path, request);
        if (asked || !String(path).startsWith("/api/calls/")) return answer;
        asked = true;
        return new Response(JSON.stringify({ ...await answer.json(), endReason: null }));
      };
      undefined""")
    await desk.join()
    url = f"{desk.server.http_url.replace('http', 'ws', 1)}/v1/legs/websocket?room_id=lobby"
    async with open_websocket_url(url, extra_headers=[(b"Authorization", b"Bearer " + TOKEN.encode())]):
        there = "document.querySelectorAll('#people li').length === 2"
        await desk.check(there, "who joins is shown without events")
    (leg,) = [leg for leg in await desk.legs() if leg["type"] == "webrtc"]
    await desk.client.delete(f"/v1/legs/{leg['id']}")
    await desk.check(f"{STATE} === 'The other side hung up'", "so is who hangs up, told late or not")
    await trio.sleep(SETTLE_S)
    report.equal(await desk.legs(), [], "calls that the page begins again")


async def _refusals(desk: Desk) -> None:
    """Names that no path can have, devices that are not there, and servers without a word."""
    page, report = desk.page, desk.report
    valid = await page.run("""[".", "..", "a b", "...", "lobby"].filter((name) => {
      document.getElementById("room").value = name;
      return document.getElementById("room").checkValidity();
    })""")
    report.equal(valid, ["...", "lobby"], "rooms that can be joined")
    said = await page.run("""(async () => {
      const { why } = await import("/phone/sound.js");
      const { read } = await import("/calls/server.js");
      const absent = { audio: { deviceId: { exact: "absent" } } };
      return [
        await navigator.mediaDevices.getUserMedia(absent).catch(why),
        await read("/v1/rooms/legs/legs/legs").catch(why),
        await read("/v1/webrtc/offer").catch(why),
      ];
    })()""")
    report.check(all(said), "every error has a message", said)


CASES: Final[tuple[Callable[[Desk], Awaitable[None]], ...]] = (
    _tokens,
    _beginnings,
    _texts,
    _devices,
    _muting,
    _without_events,
    _refusals,
)


async def run(report: Report) -> None:
    """Run every case, each at a page of its own.

    Raises:
        NotRun: Chromium is not installed.
    """
    settings = {"VB_API_TOKENS": TOKEN, "ICE_SERVERS": "none"}
    headers = {b"Authorization": b"Bearer " + TOKEN.encode()}
    with tempfile.TemporaryDirectory(prefix="interop-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "browser").mkdir()
        with trio.move_on_after(RUN_S) as scope:
            async with (
                running_server(folder, settings) as server,
                open_page(folder / "browser", f"{server.http_url}/phone", TONE_HZ) as page,
                httpx.AsyncClient(base_url=server.http_url, headers=headers, trust_env=False) as client,
            ):
                for case in CASES:
                    await page.ask("Page.navigate", url=f"{server.http_url}/phone")
                    await page.wait_for(
                        "document.readyState === 'complete' && document.getElementById('call')"
                    )
                    await page.run(f"sessionStorage.setItem('vb token', {json.dumps(TOKEN)})")
                    await case(Desk(report, server, page, client))
        report.check(not scope.cancelled_caught, f"all is over within {RUN_S:g} s")


def main() -> int:
    """Run this peer alone."""
    report = Report("phone_page")
    run_peer(report, run)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
