"""`vb demo --agent`: a caller talks with an agent of the server's own, and interrupts it once.

Everything is made on this machine: what the caller says, what is understood of it, and what is answered.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any, Final

import numpy as np
import trio
from rich.console import Console
from rich.table import Table
from rich.text import Text
from trio_websocket import WebSocketConnection, open_websocket_url

from vb.codecs.pcm import Pcm
from vb.config import Config
from vb.demo.check import Check
from vb.demo.ear import compare, read_words
from vb.demo.phone import Phone
from vb.demo.problem import DemoFailed, within
from vb.demo.screen import show_checks
from vb.demo.track import RATE_HZ, level_dbfs, load_recording
from vb.errors import VbError
from vb.media.conversion import RateConverter
from vb.providers.failure import ProviderFailed
from vb.server import Server, open_server
from vb.stt.base import Options
from vb.tts.base import Audio, Done, Provider, Voice

Frame = dict[str, Any]

GREETING: Final = "Hello. I can count, and I can tell you the time."
MANNERS: Final = "You talk on the phone. Answer in one or two short sentences, without lists."
COLLEAGUE: Final = "colleague"
"""Who is dialled to be transferred."""
COLLEAGUE_GREETING: Final = "Hello again. You have been transferred to my colleague, who is another machine."
QUESTION: Final = "What time is it?"
COUNT: Final = "Please count to twelve."
STOP: Final = "That is enough."
GOODBYE: Final = "Goodbye."
LISTEN_S: Final = 1.8
"""How long the caller lets the agent count."""
_SPEAKING_DBFS: Final = -45.0
_ENGINES_S: Final = 60.0
_TURN_S: Final = 20.0
_END_S: Final = 10.0
_LOOK_S: Final = 0.05
_BREATH_S: Final = 0.6


class Desk:
    """What an application does: it answers the call, records it, and gives it an agent.

    Args:
        url: base URL of the server.
        note: told who did something and what it was.
        colleague: SIP address to which the agent may transfer a call; "" when it may not.

    Attributes:
        events: everything that the server has told.
    """

    def __init__(self, url: str, note: Callable[[str, str], None], colleague: str = "") -> None:
        self.events: list[Frame] = []
        self._colleague = colleague
        self._transferred: set[str] = set()
        self._url = url
        self._note = note
        self._moved = trio.Event()
        self._numbers = itertools.count(1)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the call until cancelled; started once it may come in.

        Raises:
            DemoFailed: the server refused a command.
        """
        async with open_websocket_url(self._url.replace("http", "ws", 1) + "/v1/vsi") as vsi:
            while True:
                frame = json.loads(await vsi.get_message())
                if frame["type"] == "connected":
                    task_status.started()
                await self._handle(vsi, frame)
                self.events.append(frame)
                self._moved.set()
                self._moved = trio.Event()

    async def _handle(self, vsi: WebSocketConnection, frame: Frame) -> None:
        leg = {"id": frame.get("leg_id", "")}
        match frame["type"]:
            case "leg.ringing":
                if frame["to"] == COLLEAGUE:
                    self._transferred.add(frame["leg_id"])
                await self._command(vsi, "answer_leg", leg)
            case "leg.connected":
                await self._command(vsi, "leg_record_start", leg)
                await self._command(vsi, "leg_agent_local", {**leg, **self._agent(frame["leg_id"])})
            case "leg.transfer_initiated":
                self._note("call", f"is transferred to {frame['target']}")
            case "agent.user_transcript" if frame["is_final"]:
                self._note("caller", frame["text"])
            case "agent.agent_response":
                self._note("agent", frame["text"])
            case "agent.interrupted":
                self._note("agent", f"is interrupted after {frame['played_ms'] / 1000:.1f} s")
            case "agent.error":
                self._note("agent", f"{frame['part']}: {frame['error']}")
            case "leg.disconnected":
                self._note("call", f"ended ({frame['cdr']['reason']})")
            case "error" | "leg.command_failed":
                raise DemoFailed(f"the server refused a command: {frame.get('data') or frame.get('error')}")

    def _agent(self, leg_id: str) -> Frame:
        """Return what a call's agent is."""
        agent: Frame = {"tools": ["hangup"], "language": "en", "instructions": MANNERS, "greeting": GREETING}
        if leg_id in self._transferred:
            agent["greeting"] = COLLEAGUE_GREETING
        elif self._colleague:
            agent["tools"] = ["hangup", "transfer"]
            agent["instructions"] += f" Who wants to be transferred is transferred to {self._colleague}."
        return agent

    async def _command(self, vsi: WebSocketConnection, name: str, payload: Frame) -> None:
        frame = {"type": name, "request_id": str(next(self._numbers)), "payload": payload}
        await vsi.send_message(json.dumps(frame))

    def all(self, kind: str) -> list[Frame]:
        """Return the events of a type."""
        return [frame for frame in self.events if frame["type"] == kind]

    async def until(self, kind: str, count: int, seconds: float, what: str) -> Frame:
        """Wait for the n-th event of a type.

        Raises:
            DemoFailed: it does not come in time.
        """
        with within(seconds, what):
            while len(self.all(kind)) < count:
                await self._moved.wait()
        return self.all(kind)[count - 1]


async def hold_conversation(console: Console, config: Config, talk: trio.CancelScope) -> bool:
    """Hold the conversation and give the verdict; returns whether it was held to its end.

    A language model answers where one is set up, of whose words less can be expected.

    Raises:
        DemoFailed: the extra `speech` is missing, something took too long, or a check does not hold.
    """
    note, read = _notes(console), ""
    async with open_server(config) as server, trio.open_nursery() as nursery:
        assert server.url is not None
        voice = _local_voice(server)
        note("server", f"listens on {server.url}; the engines start")
        with within(_ENGINES_S, "the engines of local speech"):
            phrases = {text: await _speech(voice, text) for text in (QUESTION, COUNT, STOP, GOODBYE)}
        desk, phone = Desk(server.url, note), Phone("caller", np.zeros(0, np.int16), may_be_ended=True)
        with talk:
            await nursery.start(desk.run)
            nursery.start_soon(phone.run, f"sip:agent@{server.addresses.sip[0].removeprefix('udp:')}")
            await _converse(desk, phone, phrases, polite=not config.agents.base_url)
        phone.hang_up()
        if talk.cancel_called:
            await trio.sleep(_BREATH_S)
        else:
            await desk.until("recording.finished", 1, _END_S, "the recording to be completed")
            await desk.until("leg.disconnected", 1, _END_S, "the end of the call")
            note("server", "reads what the caller has heard")
            with within(_ENGINES_S, "the words to be read"):
                read = await read_words(server.engine.transcripts.providers["local"], phone.heard.samples)
        nursery.cancel_scope.cancel()
    if talk.cancel_called:
        return False
    _show_times(console, desk.all("agent.turn"))
    path = Path(desk.all("recording.finished")[0]["file"])
    pcm, _ = await trio.to_thread.run_sync(load_recording, path)
    said = " ".join(turn["heard"] for turn in desk.all("agent.turn"))
    checks = [*judge(desk, pcm, by_rules=not config.agents.base_url), compare(said, read)]
    show_checks(console, checks)
    console.print(f"recording: {path} ({pcm.size / RATE_HZ:.1f} s)", soft_wrap=True, markup=False)
    for check in checks:
        if not check.holds:
            raise DemoFailed(f"check not passed: {check.fact} ({check.figure})")
    return True


async def wait_for_phone(console: Console, config: Config, talk: trio.CancelScope) -> bool:
    """Let the user talk with the agent over a softphone or a browser; returns whether a call was held.

    Raises:
        DemoFailed: the extra `speech` is missing, or the server refused a command.
    """
    note = _notes(console)
    async with open_server(config) as server, trio.open_nursery() as nursery:
        assert server.url is not None
        _local_voice(server)
        sip = server.addresses.sip[0].removeprefix("udp:")
        desk = Desk(server.url, note, f"sip:{COLLEAGUE}@{sip}")
        await nursery.start(desk.run)
        note("server", f"call sip:agent@{sip}, or open {server.url}/phone in a browser on this machine")
        with talk:
            await desk.until("recording.finished", 1, inf, "a call")
            while (ended := len(desk.all("leg.disconnected"))) < len(desk.all("leg.connected")):
                await desk.until("leg.disconnected", ended + 1, inf, "the end of the call")
        nursery.cancel_scope.cancel()
    if talk.cancel_called:
        return False
    _show_times(console, desk.all("agent.turn"))
    path = desk.all("recording.finished")[0]["file"]
    console.print(f"recording: {path}", soft_wrap=True, markup=False)
    return True


def _notes(console: Console) -> Callable[[str, str], None]:
    """Return what shows who did something, what it was, and when."""
    begun = trio.current_time()

    def note(who: str, what: str) -> None:
        line = Text.assemble((f"{trio.current_time() - begun:5.1f} s  ", "dim"), (f"{who:<8}", "bold"), what)
        console.print(line, soft_wrap=True)

    return note


def _local_voice(server: Server) -> Provider:
    """Return who speaks for the caller.

    Raises:
        DemoFailed: the engines are not installed.
    """
    voice = server.engine.voices.providers["local"]
    try:
        voice.check(Voice("default", language="en"))
        server.engine.transcripts.choose("local", Options(language="en"))
    except VbError as error:
        raise DemoFailed(
            f"it needs engines of local speech, pip install 'vb[speech]' ({error.message})"
        ) from None
    return voice


async def _speech(provider: Provider, text: str) -> Pcm:
    """Have a text spoken; returns it at the phone's rate.

    Raises:
        DemoFailed: the voice fails.
    """
    pieces: list[Pcm] = []
    rate_hz = RATE_HZ
    try:
        async with provider.open(provider.check(Voice("default", language="en"))) as session:
            await session.feed(text)
            await session.finalize()
            while not isinstance(item := await session.receive(), Done):
                if isinstance(item, Audio):
                    pieces.append(item.pcm)
                    rate_hz = item.rate_hz
    except ProviderFailed as failed:
        raise DemoFailed(f"the caller has no voice: {failed}") from None
    converter = RateConverter(rate_hz, RATE_HZ)  # voices speak at rates that no call has
    return np.concatenate([*converter.feed(np.concatenate(pieces)), *converter.finish()])


async def _converse(desk: Desk, phone: Phone, phrases: dict[str, Pcm], *, polite: bool) -> None:
    """Follow the script: a question, an interruption, a goodbye.

    Args:
        desk: the application.
        phone: the caller.
        phrases: what he says.
        polite: whether the agent is sure to hang up after the goodbye; he does it himself otherwise.
    """
    await desk.until("agent.turn", 1, _TURN_S, "the greeting to be over")
    await _say(phone, phrases[QUESTION])
    await desk.until("agent.turn", 2, _TURN_S, "the time")
    await _say(phone, phrases[COUNT])
    with within(_TURN_S, "the agent to count"):
        while phone.heard.level_dbfs() < _SPEAKING_DBFS:  # noqa: ASYNC110 -- no event tells of loudness
            await trio.sleep(_LOOK_S)
    await trio.sleep(LISTEN_S)
    await _say(phone, phrases[STOP])
    await desk.until("agent.interrupted", 1, _TURN_S, "the agent to be interrupted")
    await desk.until("agent.turn", 4, _TURN_S, "an answer after the interruption")
    await _say(phone, phrases[GOODBYE])
    if polite:
        await desk.until("agent.disconnected", 1, _TURN_S, "the agent to hang up")
        return
    with trio.move_on_after(_END_S):
        await desk.until("agent.disconnected", 1, inf, "the agent to hang up")


async def _say(phone: Phone, speech: Pcm) -> None:
    await trio.sleep(_BREATH_S)
    phone.spoken = trio.Event()
    phone.said.say(speech)
    await phone.spoken.wait()


def judge(desk: Desk, recording: Pcm, *, by_rules: bool = True) -> list[Check]:
    """Tell what holds of a conversation; less of one with a language model, which may say anything."""
    turns, ends = desk.all("agent.turn"), [frame["type"] for frame in desk.events]
    said = " ".join(frame["text"] for frame in desk.all("agent.user_transcript") if frame["is_final"]).lower()
    answers = [frame["heard"] for frame in turns]
    cut = [turn for turn in turns if turn["interrupted"] and turn["heard"] != turn["text"]]
    kept = f"{len(cut[0]['heard'].split())} of {len(cut[0]['text'].split())} words" if cut else "never"
    slowest = max((turn.get("first_heard_ms") or 0 for turn in turns), default=0)
    level = level_dbfs(recording)
    known = [
        word for word in ("time", "count", "enough", "goodbye") if word in said.replace("good bye", "goodbye")
    ]
    gone_first = ends.index("agent.disconnected") < ends.index("leg.disconnected")
    reason = desk.all("leg.disconnected")[0]["cdr"]["reason"]
    told_time = any(text.startswith("It is") for text in answers) if by_rules else bool(answers[1:2])
    said_goodbye = not by_rules or ("Goodbye" in answers[-1] and reason == "api_hangup")
    return [
        Check("the agent understood the caller", len(known) == 4, ", ".join(known)),
        Check("it told the time", told_time, "; ".join(answers[1:2])),
        Check(
            "it was interrupted once, and remembers only what was heard",
            len(cut) == 1
            and cut[0]["text"].startswith(cut[0]["heard"])
            and cut[0]["heard"] != cut[0]["text"],
            kept,
        ),
        Check("it answered after that", len(answers) > 3 and bool(answers[3]), "; ".join(answers[3:4])),
        Check(
            "it said goodbye and hung up, and was gone before the call was",
            said_goodbye and gone_first,
            answers[-1],
        ),
        Check("every answer began within five seconds", slowest < 5000, f"{slowest} ms at most"),
        Check("both are in the recording", level > _SPEAKING_DBFS, f"{level:.0f} dBFS"),
    ]


def _show_times(console: Console, turns: list[Frame]) -> None:
    """Show where the time of each answer went."""
    columns = ("turn over", "first words", "first sample", "heard")
    table = Table("answer", *columns, title="milliseconds after the caller's last sound")
    for column in table.columns[1:]:
        column.justify = "right"
    for turn in turns:
        times = [
            turn.get(f"{name}_ms") for name in ("endpointing", "first_words", "first_audio", "first_heard")
        ]
        table.add_row(turn["text"][:40], *("" if each is None else str(each) for each in times))
    console.print(table)
