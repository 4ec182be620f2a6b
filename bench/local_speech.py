"""`python -m bench.local_speech`: when the local voice is first heard, and what ticks notice of its engines.

Windows without and with work for the engines follow one another, so that what else the machine does weighs on
both alike. The work is more than calls can ask for: two texts are synthesized as fast as that goes, over and
over, while four legs speak without a pause and are written down.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import urllib.request
from collections import deque
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import trio

from bench.host import cpu_s
from bench.server import late_percent, parse_metrics
from conformance.peers.payload import make_codec
from conformance.peers.sip_ua import open_udp
from interop.application import Application, answer, application
from interop.report import NotRun
from interop.server import Server, running_server
from interop.speech import Phone, calling, check_installed, listen_to, spoken
from interop.words import SENTENCES

TONES: Final = 10
SPEAKERS: Final = 4
WINDOWS: Final = 4
WINDOW_S: Final = 8.0
SETTLE_S: Final = 1.0
FIRST_AUDIO_MS: Final = 200.0
LONG_TEXT: Final = " ".join(SENTENCES)


@dataclass
class Kind:
    """What was read in the windows of one kind."""

    late_percent: list[float] = field(default_factory=list)
    server_cpu: list[float] = field(default_factory=list)
    engines_cpu: list[float] = field(default_factory=list)


def _metrics(server: Server) -> dict[str, float]:
    with urllib.request.urlopen(f"{server.http_url}/metrics", timeout=10) as response:
        return parse_metrics(response.read().decode())


def _helper_pid(server: Server) -> int:
    threads = Path(f"/proc/{server.pid}/task")
    children = [pid for thread in threads.iterdir() for pid in (thread / "children").read_text().split()]
    return int(children[0])


async def _window(server: Server, helper: int, kind: Kind) -> None:
    await trio.sleep(SETTLE_S)
    before = await trio.to_thread.run_sync(_metrics, server)
    cpu, engines, started = cpu_s(server.pid), cpu_s(helper), time.monotonic()
    await trio.sleep(WINDOW_S)
    seconds = time.monotonic() - started
    kind.server_cpu.append((cpu_s(server.pid) - cpu) / seconds)
    kind.engines_cpu.append((cpu_s(helper) - engines) / seconds)
    after = await trio.to_thread.run_sync(_metrics, server)
    kind.late_percent.append(late_percent(before, after) or 0.0)


async def _synthesize(app: Application, leg_id: str) -> None:
    """Prepare a long text and drop it, over and over."""
    while True:
        told = await app.command(
            "leg_tts_preflight", id=leg_id, text=LONG_TEXT, voice="heart", provider="local"
        )
        assert isinstance(told, dict)
        staged = told["tts_id"]

        def ready(staged: object = staged) -> bool:
            return any(each["type"] == "tts.staged" and each.get("tts_id") == staged for each in app.events)

        await app.wait(ready, 60.0)
        await app.command("leg_tts_discard", id=leg_id, tts_id=staged)


def _speak_without_pause(phone: Phone, payloads: list[bytes]) -> None:
    line = deque(payloads)

    def next_payload(pcm: object) -> bytes:
        line.rotate(-1)
        return line[0]

    phone.rtp.codec = replace(make_codec(phone.codec), encode=next_payload)
    phone.rtp.talk(None, codec=phone.codec)


async def _first_audio(phone: Phone) -> list[float]:
    """Speak each sentence once and return when its first sound came, in ms."""
    found = []
    for text in SENTENCES:
        mark, since = phone.mark(), time.monotonic()
        await spoken(phone.app, "leg", phone.leg_id, text)
        first_s = phone.first_sound_s(mark, since)
        if first_s is not None:
            found.append(first_s * 1000)
    return found


async def main() -> int:
    """Measure and print; returns 1 where the first sound comes too late."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = await stack.enter_async_context(running_server(folder, {"SIP_CODECS": "PCMU"}))
        app = await stack.enter_async_context(application(server.vsi_url, {"speech": answer}))
        ua = await stack.enter_async_context(open_udp((server.sip_host, server.sip_port)))
        voice = await stack.enter_async_context(calling(server, app, ua, "voice", "PCMU"))
        mark = voice.mark()
        await spoken(app, "leg", voice.leg_id, LONG_TEXT[:200])
        payloads = [packet.payload for packet in list(voice.rtp.received)[mark:]]
        first_ms = await _first_audio(voice)
        helper = _helper_pid(server)
        speakers = []
        for number in range(TONES + SPEAKERS):
            phone = await stack.enter_async_context(calling(server, app, ua, f"phone{number}", "PCMU"))
            if number < TONES:
                room_id = f"room{number // 2}"
                phone.rtp.talk(500 + 50 * number)
                await app.command("add_leg_to_room", room_id=room_id, leg_id=phone.leg_id)
            else:
                speakers.append(phone)
                _speak_without_pause(phone, payloads)
        idle, busy = Kind(), Kind()
        for _ in range(WINDOWS):
            await _window(server, helper, idle)
            async with trio.open_nursery() as nursery:
                for phone in speakers:
                    await listen_to(app, "leg", phone.leg_id)
                for phone in speakers[:2]:
                    nursery.start_soon(_synthesize, app, phone.leg_id)
                await _window(server, helper, busy)
                nursery.cancel_scope.cancel()
            for phone in speakers:
                await app.command("leg_stt_stop", id=phone.leg_id)
        return _print(first_ms, idle, busy)


def _print(first_ms: list[float], idle: Kind, busy: Kind) -> int:
    middle_ms = statistics.median(first_ms)
    print(f"first sound at the phone, one call: p50 {middle_ms:.0f} ms, max {max(first_ms):.0f} ms")
    for name, kind in (("idle", idle), ("at work", busy)):
        print(
            f"engines {name}: late ticks {statistics.median(kind.late_percent):.2f} %, "
            f"server {statistics.median(kind.server_cpu):.1%} of a core, "
            f"engines {statistics.median(kind.engines_cpu):.1%}"
        )
    return 0 if middle_ms <= FIRST_AUDIO_MS else 1


if __name__ == "__main__":
    try:
        check_installed()
    except NotRun as exc:
        print(f"not run: {exc}")
        sys.exit(0)
    sys.exit(trio.run(main))
