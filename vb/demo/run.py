"""`vb demo`: two phones, a browser and a program talk in a recorded room, and the verdict is given."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import trio
from rich.console import Console
from trio_websocket import ConnectionClosed, HandshakeError

from vb.config import Config
from vb.demo.agent import hold_conversation, wait_for_phone
from vb.demo.application import Application
from vb.demo.browser import Browser
from vb.demo.caller import Caller
from vb.demo.check import Evidence, are_stored, judge
from vb.demo.phone import Phone
from vb.demo.problem import DemoFailed, within
from vb.demo.program import Program
from vb.demo.screen import Screen, show_checks
from vb.demo.track import RATE_HZ, load_recording, load_speech
from vb.errors import first_of
from vb.log import configure_logging
from vb.media.errors import DecodeError
from vb.server import open_server

SPEECH_SAMPLES: Final = int(3.4 * RATE_HZ)
NEXT_VOICE_AFTER_S: Final = 2.2
"""Each talks alone at first, and then over the next one: an echo could not hide in either part."""
LISTEN_ON_S: Final = 0.4
"""The last words are still on their way when the speech has ended."""
GATHER_S: Final = 5.0
TALK_S: Final = 10.0
FINISH_S: Final = 5.0
INTERRUPTED_FINISH_S: Final = 1.0
INTERRUPTED: Final = 130
MODEL: Final = ("OPENAI_BASE_URL", "OPENAI_API_KEY", "VB_AGENT_MODEL")
EMPTY: Final[Mapping[str, str]] = {}


async def run_demo(
    keep: str | None, agent: bool = False, phone: str | None = None, environ: Mapping[str, str] = EMPTY
) -> int:
    """Run the demonstration.

    Args:
        keep: directory for the recording; a new temporary one if None. It stays in either case.
        agent: let a caller talk with an agent of the server's own, instead of callers with each other.
        phone: the caller is a phone of the user's, who calls this address.
        environ: says which model answers him, if any.

    Returns:
        Exit status: 0 if everybody heard the others and not themselves, 1 if not, 130 after Ctrl-C.
    """
    configure_logging("warn")
    console = Console(highlight=False)
    talk = trio.CancelScope()
    passed, problem = False, ""
    try:
        folder = _make_folder(keep)
        async with trio.open_nursery() as nursery:
            await nursery.start(_watch_signals, talk, nursery.cancel_scope)
            settings = {name: environ[name] for name in MODEL if environ.get(name)}
            if phone is not None:
                passed = await wait_for_phone(console, _config(folder, **settings, SIP_BIND_IP=phone), talk)
            elif agent:
                passed = await hold_conversation(console, _config(folder, **settings), talk)
            else:
                passed = await _meet(console, folder, talk)
            nursery.cancel_scope.cancel()
    except* (DemoFailed, DecodeError, OSError, httpx.HTTPError, ConnectionClosed, HandshakeError) as group:
        problem = str(first_of(group))
    if talk.cancel_called:
        console.print("vb demo: interrupted")
        return INTERRUPTED
    if problem:
        console.print(f"vb demo: FAILED: {problem}", soft_wrap=True, markup=False)
    return 0 if passed and not problem else 1


async def _meet(console: Console, folder: Path, talk: trio.CancelScope) -> bool:
    """Let callers talk with each other; returns whether it was done to its end, and all was well."""
    callers, recording, calls = await _hold_calls(console, folder, talk)
    if recording is None:
        return False
    if talk.cancel_called:
        console.print(f"recording: {recording}", soft_wrap=True, markup=False)
        return False
    await _give_verdict(console, callers, recording, calls)
    return True


async def _watch_signals(
    talk: trio.CancelScope, everything: trio.CancelScope, *, task_status: trio.TaskStatus[None]
) -> None:
    """End the talk on the first signal, so that the phones hang up properly, and everything on the second."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            if talk.cancel_called:
                everything.cancel()
            talk.cancel()


async def _hold_calls(
    console: Console, folder: Path, talk: trio.CancelScope
) -> tuple[tuple[Caller, ...], Path | None, list[dict[str, Any]]]:
    """Hold four calls in a recorded room; returns the callers, the recording if any, and what is stored."""
    calls: list[dict[str, Any]] = []
    voices = [load_speech("caller_a.wav"), load_speech("caller_b.wav")]
    # Backwards a recording is as unlike itself as another speaker.
    a, b, c, d = (
        voice[:SPEECH_SAMPLES] for pair in (voices, [voice[::-1] for voice in voices]) for voice in pair
    )
    phones = (Phone("A", a), Phone("B", b))
    browser, program = Browser("browser", c), Program("program", d)
    callers: tuple[Caller, ...] = (*phones, browser, program)
    screen = Screen(console, callers)
    async with open_server(_config(folder)) as server, trio.open_nursery() as nursery:
        assert server.url is not None
        sip = server.addresses.sip[0].removeprefix("udp:")
        screen.note("server", f"listens on {server.url} and sip:{sip}")
        nursery.start_soon(screen.run)
        application = Application(server.url, callers=len(callers), note=screen.note)
        with talk:
            await nursery.start(application.run)
            for phone in phones:
                nursery.start_soon(phone.run, f"sip:demo@{sip}")
            nursery.start_soon(browser.run, server.url)
            nursery.start_soon(program.run, server.url)
            await _converse(application, callers)
        for caller in callers:
            caller.hang_up()
        if talk.cancel_called:
            with trio.move_on_after(INTERRUPTED_FINISH_S):
                await application.over.wait()
        else:
            with within(FINISH_S, "the recording to be completed and the calls to be stored"):
                await application.over.wait()
            calls = await application.stored_calls()
            if held_up_ms := await application.held_up_ms():
                screen.note("machine", f"held the server up for {held_up_ms} ms, which was not heard")
        nursery.cancel_scope.cancel()
    return callers, application.recording, calls


async def _converse(application: Application, callers: tuple[Caller, ...]) -> None:
    with within(GATHER_S, "all calls to be in the room and recorded"):
        await application.gathered.wait()
    for caller in callers:
        caller.said.talk()
        await trio.sleep(NEXT_VOICE_AFTER_S)
    with within(TALK_S, "the callers to finish their speech"):
        for caller in callers:
            await caller.spoken.wait()
    await trio.sleep(LISTEN_ON_S)


async def _give_verdict(
    console: Console, callers: tuple[Caller, ...], recording: Path, calls: list[dict[str, Any]]
) -> None:
    """Show what holds.

    Raises:
        DemoFailed: a check does not hold.
    """
    pcm, rate_hz = await trio.to_thread.run_sync(load_recording, recording)
    evidence = Evidence(
        said={caller.name: caller.said.speech for caller in callers},
        heard={caller.name: caller.heard.samples for caller in callers},
        recording=pcm,
    )
    checks = [*await trio.to_thread.run_sync(judge, evidence), are_stored(calls, len(callers))]
    show_checks(console, checks)
    console.print(
        f"recording: {recording} ({pcm.size / RATE_HZ:.1f} s at {rate_hz} Hz)", soft_wrap=True, markup=False
    )
    for check in checks:
        if not check.holds:
            raise DemoFailed(f"check not passed: {check.fact} ({check.figure})")


def _make_folder(keep: str | None) -> Path:
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="vb-demo-"))
    folder = Path(keep)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _config(folder: Path, **more: str) -> Config:
    """Return settings for a server on free loopback ports."""
    return Config.from_env(
        {
            "HTTP_ADDR": "127.0.0.1:0",
            "SIP_BIND_IP": "127.0.0.1",
            "SIP_PORT": "0",
            "ICE_SERVERS": "none",
            "RTP_PORT_MIN": "0",
            "RTP_PORT_MAX": "0",
            "RECORDING_DIR": str(folder),
            "VB_DATA_DIR": str(folder / "history"),
            **more,
        }
    )
