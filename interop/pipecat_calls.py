"""Agents made with the real Pipecat: audio, interruptions and RTVI messages both ways.

`INTEROP_PIPECAT` names a Python interpreter with the package `pipecat-ai[websocket]` (tried: 1.14.0). It is
large and brings many others, so it has an environment of its own and is only spoken to over the network.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from conformance.peers.sip_ua import open_udp
from interop.application import Application, answer, application
from interop.processes import reaped, tail_of
from interop.report import NotRun, Report, run_peer
from interop.server import running_server
from interop.speech import Phone, calling

START_S = 60.0
ANSWER_S = 10.0
CALLER_HZ, BOT_HZ, OTHER_HZ = 500.0, 900.0, 1300.0
LOUD = 0.03
QUIET_AFTER_S = 0.3
"""From an interruption to the last packet with the bot's tone, with all buffers between."""
SPEECH_MS = 200
NOT_READY_S = 1.9
"""A bot that never says that it is ready counts as ready after 2 s."""

Said = dict[str, Any]


class Bot:
    """The program of `interop.pipecat_bot` while it runs."""

    def __init__(self, process: trio.Process) -> None:
        self.port = 0
        self.said: list[Said] = []
        self._process = process
        self._news = trio.Event()

    async def read(self) -> None:
        """Keep what it says until it ends."""
        assert self._process.stdout is not None
        rest = b""
        async for chunk in self._process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                said = json.loads(line)
                self.port = said.get("port", self.port)
                self.said.append(said)
            self._news.set()
            self._news = trio.Event()

    async def do(self, what: str, **fields: object) -> None:
        """Let it do something."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps({"do": what, **fields}).encode() + b"\n")

    async def until(self, holds: Callable[[Said], bool], within_s: float = ANSWER_S) -> Said | None:
        """Wait for something that it says, and forget all up to that; None when it does not come."""
        with trio.move_on_after(within_s):
            while True:
                for number, said in enumerate(self.said):
                    if holds(said):
                        del self.said[: number + 1]
                        return said
                await self._news.wait()
        return None

    async def saw(self, what: str, within_s: float = ANSWER_S) -> Said | None:
        """Wait until it has seen something."""
        return await self.until(lambda said: said.get("saw") == what, within_s)


@asynccontextmanager
async def running_bot(interpreter: str, log: Path) -> AsyncIterator[Bot]:
    """A bot for the time of the block.

    Raises:
        NotRun: the interpreter has no Pipecat.
    """
    program = Path(__file__).with_name("pipecat_bot.py")
    with log.open("wb") as errors:
        process = await trio.lowlevel.open_process(
            [interpreter, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
    async with reaped(process), trio.open_nursery() as nursery:
        bot = Bot(process)
        nursery.start_soon(bot.read)
        if await bot.until(lambda said: "port" in said, START_S) is None:
            nursery.cancel_scope.cancel()
            raise NotRun(f"no Pipecat at {interpreter}: {tail_of(log)}")
        yield bot
        assert process.stdin is not None
        await process.stdin.aclose()
        with trio.move_on_after(ANSWER_S):
            await process.wait()
        nursery.cancel_scope.cancel()


def find_interpreter() -> str:
    """Return the interpreter that has Pipecat.

    Raises:
        NotRun: none is named.
    """
    found = os.environ.get("INTEROP_PIPECAT")  # noqa: TID251 - says where a peer is, sets nothing of vb
    if not found:
        raise NotRun("INTEROP_PIPECAT names no interpreter with pipecat-ai[websocket]")
    return found


async def _attach(app: Application, bot: Bot, phone: Phone, **more: object) -> bool:
    """Attach the bot and wait until it is ready; returns whether it is."""
    before = _count(app, phone, "agent.connected")
    url = f"ws://127.0.0.1:{bot.port}"
    await app.command("leg_agent_pipecat", id=phone.leg_id, websocket_url=url, **more)
    return await app.wait(lambda: _count(app, phone, "agent.connected") > before, ANSWER_S)


async def _stop(app: Application, bot: Bot, phone: Phone, report: Report) -> None:
    before = _count(app, phone, "agent.disconnected")
    await app.command("leg_agent_stop", id=phone.leg_id)
    await app.wait(lambda: _count(app, phone, "agent.disconnected") > before, ANSWER_S)
    report.equal(_count(app, phone, "agent.disconnected"), before + 1, "agent.disconnected once more")
    report.check(await bot.saw("goodbye") is not None, "the bot is told goodbye")


def _count(app: Application, phone: Phone, kind: str) -> int:
    return sum(event["type"] == kind and event.get("leg_id") == phone.leg_id for event in app.events)


async def _tones(phone: Phone, for_ms: int = 400) -> list[int]:
    return (await phone.rtp.listen(for_ms)).tones


async def _silent_after(phone: Phone, since: float, hertz: float) -> float:
    """Return how long after a moment the last packet came that has the bot's tone, in seconds."""
    await trio.sleep(1.0)
    last = since
    for packet in list(phone.rtp.received):
        pcm = phone.rtp.codec.decode(packet.payload)
        if packet.at > last and abs(pcm).max(initial=0) > 800:
            last = packet.at
    return last - since


async def check_audio(app: Application, bot: Bot, phone: Phone, report: Report) -> None:
    """What each of them hears of the other."""
    since = time.monotonic()
    report.check(await _attach(app, bot, phone), "the bot is connected")
    took_s = time.monotonic() - since
    report.check(took_s < NOT_READY_S, "as soon as it says bot-ready", f"{took_s:.2f} s")
    phone.rtp.talk(CALLER_HZ)
    await bot.do("listen", tones=[CALLER_HZ, BOT_HZ], seconds=0.5)
    heard = await bot.until(lambda said: "heard" in said)
    levels = heard["heard"] if heard else {}
    report.check(levels.get(str(CALLER_HZ), 0) > LOUD, "the bot hears the caller", levels)
    report.check(levels.get(str(BOT_HZ), 1) < LOUD, "and nothing of itself", levels)
    report.equal(heard and heard["rates"], [[16000, 1]], "rate and channels of what it hears")
    await bot.do("say", hertz=BOT_HZ, seconds=2.0)
    await trio.sleep(0.5)
    report.equal([round(tone, -1) for tone in await _tones(phone)], [int(BOT_HZ)], "the caller hears the bot")
    await app.command("leg_agent_message", id=phone.leg_id, message="a regular customer", respond=True)
    saw = await bot.saw("send-text")
    report.equal(saw and saw["text"], "a regular customer", "a message is send-text")
    await bot.do("transcribe", text="good day")
    said = await app.wait_for(phone.leg_id, "agent.user_transcript")
    report.equal(said and said["text"], "good day", "what the bot understood is told")
    await app.wait(lambda: _count(app, phone, "agent.user_transcript") > 1, 0.5)
    report.equal(_count(app, phone, "agent.user_transcript"), 1, "and told only once")


async def check_interruptions(app: Application, bot: Bot, phone: Phone, report: Report) -> None:
    """The bot's own interruption silences it here."""
    await trio.sleep(1.5)
    phone.rtp.talk(None)
    await bot.do("say", hertz=BOT_HZ, seconds=5.0)
    await trio.sleep(0.8)
    report.equal([round(tone, -1) for tone in await _tones(phone)], [int(BOT_HZ)], "the bot speaks on")
    since = time.monotonic()
    await bot.do("interrupt")
    silent_s = await _silent_after(phone, since, BOT_HZ)
    report.check(silent_s < QUIET_AFTER_S, "an interruption of the bot's silences it", f"{silent_s:.3f} s")
    print(f"        the bot's interruption: silent after {silent_s * 1000:.0f} ms", flush=True)
    await bot.do("say", hertz=OTHER_HZ, seconds=1.5)
    await trio.sleep(0.5)
    report.equal([round(tone, -1) for tone in await _tones(phone)], [int(OTHER_HZ)], "then it says the next")


async def check_barge_in(app: Application, bot: Bot, phone: Phone, report: Report) -> None:
    """A bot that does not judge interruptions itself is interrupted by the caller's speech."""
    phone.rtp.talk(None)
    report.check(await _attach(app, bot, phone, interruption_ms=SPEECH_MS), "it is connected again")
    await bot.do("say", hertz=BOT_HZ, seconds=6.0)
    await trio.sleep(1.0)
    report.equal([round(tone, -1) for tone in await _tones(phone)], [int(BOT_HZ)], "the bot speaks")
    bot.said.clear()
    before = _count(app, phone, "agent.interrupted")
    since = time.monotonic()
    phone.rtp.talk(CALLER_HZ)
    saw = await bot.saw("interruption", 3.0)
    took_s = time.monotonic() - since
    report.check(saw is not None, "the bot gets an InterruptionFrame when the caller speaks", bot.said[-3:])
    silent_s = await _silent_after(phone, since, BOT_HZ) - SPEECH_MS / 1000
    report.check(silent_s < QUIET_AFTER_S, "it is silent as soon as that is so", f"{silent_s:.3f} s")
    figures = (
        f"frame after {took_s * 1000:.0f} ms of speech, silent {silent_s * 1000:.0f} ms beyond {SPEECH_MS}"
    )
    print(f"        the caller's interruption: {figures}", flush=True)
    await app.wait(lambda: _count(app, phone, "agent.interrupted") > before, 1.0)
    report.equal(_count(app, phone, "agent.interrupted"), before + 1, "agent.interrupted once more")
    phone.rtp.talk(None)
    await bot.do("say", hertz=OTHER_HZ, seconds=1.5)
    await trio.sleep(0.6)
    report.equal([round(tone, -1) for tone in await _tones(phone)], [int(OTHER_HZ)], "its next turn is heard")


async def check_busy(app: Application, bot: Bot, one: Phone, two: Phone, report: Report) -> None:
    """A bot that talks to somebody else says so."""
    url = f"ws://127.0.0.1:{bot.port}"
    await app.command("leg_agent_pipecat", id=two.leg_id, websocket_url=url)
    over = await app.wait_for(two.leg_id, "agent.disconnected")
    report.equal(over and over.get("reason"), "busy", "a bot that has a call is busy")
    report.equal(_count(app, one, "agent.disconnected"), 1, "and its own call goes on")


async def run(report: Report) -> None:
    """Run all of it against a server of this checkout.

    Raises:
        NotRun: there is no Pipecat.
    """
    interpreter = find_interpreter()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interop-pipecat-")))
        bot = await stack.enter_async_context(running_bot(interpreter, folder / "bot.log"))
        settings = {"VB_FETCH_ALLOW": "127.0.0.1/32"}
        server = await stack.enter_async_context(running_server(folder, settings))
        app = await stack.enter_async_context(application(server.vsi_url, {"speech": answer}))
        ua = await stack.enter_async_context(open_udp((server.sip_host, server.sip_port)))
        one = await stack.enter_async_context(calling(server, app, ua, "one", "PCMU"))
        await check_audio(app, bot, one, report)
        await check_interruptions(app, bot, one, report)
        await _stop(app, bot, one, report)
        await check_barge_in(app, bot, one, report)
        two = await stack.enter_async_context(calling(server, app, ua, "two", "PCMU"))
        await check_busy(app, bot, one, two, report)
        await _stop(app, bot, one, report)
        report.equal(app.failures, [], "what the application was told of failures")


def main() -> int:
    """Run this peer alone."""
    report = Report("pipecat")
    run_peer(report, run)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
