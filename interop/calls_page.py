"""A browser shows the calls of a server: the list, the story of one, at a desk and on a phone."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import trio

from interop.chromium import Page, find_chromium, open_page
from interop.report import Report, run_peer
from interop.server import Server, running_server
from tests.support.stored_calls import ANSWERED, ASKED, CUT_SHORT, FIRST_HEARD_MS, store_agent_call

TOKEN = "a-token-that-nobody-guesses"
CALL_S = 30.0
POLL_S = 0.1
SOUNDED_S = 16.0
"""How long the call lasts: how it sounds is sampled every five seconds, from the second sample on."""
DESK, PHONE = (1200, 900), (360, 740)
UNNAMED = """[...document.querySelectorAll('input, select, button, a, audio')].filter(node =>
  !(node.labels?.length || node.textContent.trim() || node.getAttribute('aria-label'))
).map(node => node.outerHTML)"""


async def _until(client: httpx.AsyncClient, path: str, holds: Any) -> Any:
    with trio.fail_after(CALL_S):
        while True:
            found = (await client.get(path)).json()
            if holds(found):
                return found
            await trio.sleep(POLL_S)


async def _hold_call(server: Server) -> None:
    """Let the server call itself, with a tone that is recorded, and wait until both calls are stored."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=server.http_url, headers=headers, trust_env=False) as client:
        leg: dict[str, Any] = {
            "type": "sip",
            "to": server.sip_uri("desk"),
            "from": "anna",
            "room_id": "caller",
        }
        leg["metadata"] = {"team": "red"}
        made = await client.post("/v1/legs", json=leg)
        made.raise_for_status()
        legs = await _until(client, "/v1/legs", lambda found: len(found) == 2)
        called = next(item["id"] for item in legs if item["type"] == "sip_inbound")
        await client.post("/v1/rooms/called/legs", json={"leg_id": called})
        await _until(
            client,
            f"/v1/legs/{called}",
            lambda found: (found["state"], found.get("room_id")) == ("connected", "called"),
        )
        (await client.post(f"/v1/legs/{called}/record", json={})).raise_for_status()
        (await client.post(f"/v1/legs/{called}/play", json={"tone": "us_dial"})).raise_for_status()
        await trio.sleep(SOUNDED_S)
        await client.delete(f"/v1/legs/{called}")
        await _until(
            client, "/api/calls", lambda found: len([call for call in found["results"] if call["ended"]]) == 3
        )


async def _look_at_agent(report: Report, page: Page, call_id: str, folder: Path) -> None:
    """Look at the story of a call with an agent: what was said, when it spoke, and how long that took."""
    check = report.check
    await page.resize(*DESK)
    await page.run(f"location.hash = '#/{call_id}'")
    check(
        await page.wait_for(f"document.body.textContent.includes({ASKED!r})"),
        "the story tells what was asked",
    )
    said = await page.run("[...document.querySelectorAll('.said')].map(node => node.textContent)")
    answer = next((text for text in said if ANSWERED in text), "")
    check(f"answered after {FIRST_HEARD_MS} ms" in answer, "an answer tells how long it took", said)
    check("end of turn 420" in answer, "and how long each step of it took", answer)
    check(
        any(CUT_SHORT in text and "interrupted" in text for text in said),
        "an answer that was cut short says so",
        said,
    )
    bars = await page.run(
        "['.agent', '.waited', '.speech'].map(m => document.querySelectorAll(`.lanes ${m}`).length)"
    )
    report.equal(
        bars, [3, 2, 3], "the time line shows the agent's turns, what they took, and the caller's speech"
    )
    listed = await page.run("document.querySelector('.story').textContent")
    check(
        "turn 2, heard after 812 ms" in listed,
        "a turn tells its times",
        listed[:3000],
    )
    facts = await page.run("document.querySelector('.facts').textContent")
    check("Agent answers after700 ms" in facts, "the facts tell how fast the agent answers", facts)
    await page.shoot(folder / "agent-desk.png")
    await page.resize(*PHONE)
    fits = "document.documentElement.scrollWidth <= 360"
    check(await page.wait_for(fits), "the story of an agent fits into 360 pixels")
    await page.shoot(folder / "agent-phone.png")


async def _look(report: Report, page: Page, server: Server, agent_call: str, folder: Path) -> None:
    await page.resize(*DESK)
    check = report.check
    if not check(await page.wait_for("document.getElementById('ask')?.open"), "it asks for a token"):
        return
    await page.ask("Input.insertText", text="a-wrong-one")
    await page.press("Enter")
    asked = "document.getElementById('ask-problem')?.textContent.includes('not right')"
    check(await page.wait_for(asked), "a wrong token is asked for again")
    await page.ask("Input.insertText", text=TOKEN)
    await page.press("Enter")
    listed = "document.querySelectorAll('.calls tbody tr').length"
    check(await page.wait_for(f"{listed} === 3"), "all calls are listed")
    check(
        await page.wait_for("document.querySelector('.calls').textContent.includes('anna')"),
        "the list tells who called",
    )
    await page.shoot(folder / "list-desk.png")
    report.equal(await page.run(UNNAMED), [], "everything that can be used has a name in the list, but for")

    await page.run("document.getElementById('search').focus()")
    await page.ask("Input.insertText", text="nobody-of-this-name")
    await page.press("Enter")
    check(await page.wait_for(f"{listed} === 0"), "a search that matches nothing lists nothing")
    await page.run("document.getElementById('search').value = ''")
    await page.run("document.getElementById('search').focus()")
    await page.ask("Input.insertText", text="anna")
    await page.press("Enter")
    check(await page.wait_for(f"{listed} > 0"), "a search finds the caller")

    inbound = (
        "[...document.querySelectorAll('.calls tbody tr')].find(row => row.children[1].textContent === 'in')"
    )
    check(await page.wait_for(inbound), "the incoming call says so")
    await page.run(f"({inbound}).querySelector('a').focus()")
    await page.press("Enter")
    check(await page.wait_for("document.querySelector('.story li')"), "Enter opens the story of a call")
    story = await page.run("document.querySelector('.story').textContent")
    for part in (
        "INVITE",
        "200 OK (INVITE)",
        "BYE",
        "leg.connected",
        "leg.joined_room",
        "recording.finished",
    ):
        check(part in story, f"the story tells of {part}", story[:2000])
    lanes = await page.run(
        "[...document.querySelectorAll('.lanes svg > text')].map(node => node.textContent)"
    )
    for lane in ("SIP", "Events", "Rooms", "Quality", "Said"):
        check(lane in lanes, f"the time line has a lane for {lane}", lanes)
    for mark, least in (
        (".sip-in", 3),
        (".sip-out", 3),
        (".event", 5),
        (".room", 1),
        (".quality", 1),
        (".rule", 6),
    ):
        found = await page.run(f"document.querySelectorAll('.lanes {mark}').length")
        check(found >= least, f"the time line shows {mark[1:]}", found)
    waves = await page.run(
        "[...document.querySelectorAll('.wave')].map(node => node.getAttribute('d').length)"
    )
    check(len(waves) == 2 and min(waves) > 1000, "both sides of the recording are drawn", waves)
    box = await page.run(
        "(({x, y, width}) => [x, y, width])(document.querySelector('.lanes svg').getBoundingClientRect())"
    )
    await page.click(box[0] + 0.7 * box[2], box[1] + 40)
    check(
        await page.wait_for("document.querySelector('audio').currentTime > 0.2"), "a click plays from there"
    )
    await page.shoot(folder / "story-desk.png")
    await page.run("document.querySelector('.story summary').focus()")
    await page.press("Enter")
    check(await page.wait_for("document.querySelector('.story details').open"), "Enter unfolds a SIP message")
    report.equal(await page.run(UNNAMED), [], "everything that can be used has a name in the story, but for")

    await page.resize(*PHONE)
    fits = "document.documentElement.scrollWidth <= 360"
    check(await page.wait_for(fits), "the story fits into 360 pixels")
    await page.shoot(folder / "story-phone.png")
    await page.run("location.hash = '#/'")
    check(await page.wait_for(f"{listed} === 3"), "the way back leads to the list")
    check(await page.wait_for(fits), "the list fits into 360 pixels")
    await page.wait_for("document.querySelector('.calls').textContent.includes('anna')")
    await page.shoot(folder / "list-phone.png")

    await _look_at_agent(report, page, agent_call, folder)

    strangers = [
        url
        for url in page.requested
        if not url.startswith((f"{server.http_url}/", f"blob:{server.http_url}/", "data:"))
    ]
    report.equal(strangers, [], "nothing comes from another host, but for")
    problems = [text for text in page.problems if "401" not in text]
    report.equal(problems, [], "no script fails and no policy is broken, but for")


async def run(report: Report) -> None:
    """Show calls in a browser.

    Raises:
        NotRun: it is not installed.
    """
    find_chromium()
    keep = os.environ.get("INTEROP_PICTURES")  # noqa: TID251 - says where pictures go, sets nothing of vb
    with tempfile.TemporaryDirectory(prefix="interop-browser-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        pictures = Path(keep) if keep else folder
        database = folder / "calls.db"
        agent_call = await trio.to_thread.run_sync(store_agent_call, database)
        settings = {"VB_API_TOKENS": TOKEN, "VB_DATABASE_URL": f"sqlite:///{database}"}
        async with running_server(folder, settings) as server:
            await _hold_call(server)
            async with open_page(folder, f"{server.http_url}/calls") as page:
                await _look(report, page, server, agent_call, pictures)


def main() -> int:
    """Run the browser."""
    report = Report("browser")
    run_peer(report, run)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
