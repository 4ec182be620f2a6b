"""Programs that call over MoQ, in memory and virtual time: they say a tone and note what they hear."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import trio
import trio.testing
from numpy.typing import NDArray

from tests.moq.peers import Heard, Owner
from tests.support.engine import Observed, open_engine
from tests.support.webtransport import Pair
from vb.codecs.opus import OpusDecoder, OpusEncoder
from vb.config import Config
from vb.moq.publication import Publication, Track
from vb.moq.session import MoqSession
from vb.moqleg.kind import MoqLegs
from vb.quic.session import Refusal, Request

TICK_S = 0.02
FRAME = 960
MIX, MIC = (b"mix",), (b"mic",)
ADDRESS = ("127.0.0.1", 4444)


def asked(query: str = "", *headers: tuple[str, str], origin: str | None = None) -> Request:
    """Return a request for a leg."""
    return Request("/v1/legs/moq", query, headers, origin, ADDRESS, "voice.example:8443")


@dataclass
class Said:
    """What a caller hears of a track, decoded as it comes."""

    heard: Heard = field(default_factory=Heard)
    _decoder: OpusDecoder = field(default_factory=OpusDecoder)

    def frames(self) -> list[tuple[int, int, bytes]]:
        """Return the objects since the last call."""
        found, self.heard.objects = self.heard.objects, []
        return found

    def pcm(self) -> NDArray[np.int16]:
        """Return the audio since the last call."""
        frames = [self._decoder.decode(payload) for _, _, payload in self.frames()]
        return np.concatenate(frames) if frames else np.zeros(0, np.int16)


def tones(pcm: NDArray[np.int16]) -> set[int]:
    """Return the frequencies that stand out, on a grid of 50 Hz."""
    if pcm.size < FRAME:
        return set()
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(pcm.size)))
    peaks = np.flatnonzero(spectrum > max(spectrum.max() * 0.25, 3e5))
    return {int(50 * round(peak * 48000 / pcm.size / 50)) for peak in peaks}


class Caller(Owner):
    """One program.

    Attributes:
        pair: its session, both ends.
        group_frames: how many frames it puts into a group.
    """

    def __init__(self, world: World, *, text: bool = False, group_frames: int = 0) -> None:
        names = (b"audio", b"text") if text else (b"audio",)
        super().__init__(tuple(Track(MIC, name) for name in names), (MIX,))
        self.pair = Pair()
        self.world = world
        self.group_frames = group_frames
        self.session = MoqSession(self.pair.client, self, client=True)
        self.pair.client.receiver = self.session
        self.mix, self.texts = Said(), Heard()
        self.answer: object = None
        self.tone_hz = 0
        self._encoder = OpusEncoder()
        self._samples = 0
        self._frames = 0

    def call(
        self, query: str = "", *headers: tuple[str, str], hear: bool = True, announce: bool = True
    ) -> None:
        """Open the session, say what there is, and ask for the mix."""
        self.answer = self.world.kind.accept(asked(query, *headers), self.pair.server)
        assert not isinstance(self.answer, Refusal), self.answer
        self.pair.server.receiver = self.answer
        self.session.open()
        self.pair.deliver()
        if announce:
            self.session.announce(MIC)
        if hear:
            self.session.subscribe(Track(MIX, b"audio"), self.mix.heard)
        self.pair.deliver()

    def of(self, name: bytes) -> Publication | None:
        """Return what the server has asked for, the newest."""
        named = [one for one in self.publications if one.published.track.name == name]
        return named[-1] if named else None

    def speak(self) -> None:
        """Say 20 ms of the tone."""
        publication = self.of(b"audio")
        if publication is None:
            return
        moments = (np.arange(FRAME) + self._samples) / 48000
        wave = 8000 * np.sin(2 * np.pi * self.tone_hz * moments) if self.tone_hz else np.zeros(FRAME)
        self._samples += FRAME
        payload = self._encoder.encode(wave.astype(np.int16))
        if self.group_frames == 1:
            publication.send_alone(payload)
        else:
            publication.send(payload)

    def ended_with(self) -> tuple[int, str] | None:
        """Return how the session was closed."""
        return self.pair.client.closes[0] if self.pair.client.closes else None


class World:
    """An engine with MoQ legs, whose ticks are ours."""

    def __init__(self, observed: Observed) -> None:
        self.observed = observed
        self.engine = observed.engine
        self.kind = cast("MoqLegs", self.engine.kinds.get("moq"))
        self.callers: list[Caller] = []
        self.engine.plane.set_time(trio.current_time())

    async def caller(self, query: str = "", *headers: tuple[str, str], **kinds: Any) -> Caller:
        """Let a program call, and wait until its leg is there."""
        caller = Caller(self, **kinds)
        self.callers.append(caller)
        caller.call(query, *headers)
        await trio.testing.wait_all_tasks_blocked()
        caller.pair.deliver()
        return caller

    async def run(self, seconds: float) -> None:
        """Let time pass: everybody speaks, and the plane ticks."""
        for _ in range(round(seconds / TICK_S)):
            for caller in self.callers:
                caller.speak()
                caller.pair.deliver()
            self.engine.plane.tick(trio.current_time(), trio.current_time())
            await trio.sleep(TICK_S)
            for caller in self.callers:
                caller.pair.deliver()

    async def settle(self) -> None:
        """Let all tasks do what is to be done now."""
        await trio.testing.wait_all_tasks_blocked()
        for caller in self.callers:
            caller.pair.deliver()
        await trio.testing.wait_all_tasks_blocked()

    def legs(self) -> list[str]:
        """Return the ids of the live legs."""
        return [leg.id for leg in self.engine.legs]


@asynccontextmanager
async def open_world(**environ: str) -> AsyncIterator[World]:
    """A world for as long as the block lasts."""
    config = Config.from_env({"VB_DATABASE_URL": "off", **environ})
    async with open_engine(config) as observed, trio.open_nursery() as nursery:
        world = World(observed)
        nursery.start_soon(world.kind.outbox.run)
        yield world
        nursery.cancel_scope.cancel()
