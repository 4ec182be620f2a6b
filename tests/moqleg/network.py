"""A caller whose session runs over QUIC on a virtual network, which may be as bad as one likes."""

from __future__ import annotations

from collections.abc import Callable

import trio
from aioquic.h3.events import DataReceived, WebTransportStreamDataReceived
from aioquic.quic.events import StopSendingReceived, StreamReset

from tests.moqleg.caller import MIC, MIX, TICK_S, Caller, World
from tests.quic.world import Client
from tests.quic.world import World as Network
from vb.moq.publication import Track
from vb.quic.capsules import encode_close
from vb.quic.session import Receiver
from vb.quic.webtransport import from_http_code, to_http_code

STEPS = 4
"""So many times in each tick the network moves on."""


class ClientEnd:
    """A client's end of a session, a `Session` to whoever sits there."""

    def __init__(self, client: Client) -> None:
        self.receiver: Receiver | None = None
        self.closes: list[tuple[int, str]] = []
        self._client = client
        self._seen = self._seen_http = 0

    def open_stream(self, *, bidirectional: bool) -> int:
        return self._client.open(bidirectional=bidirectional)

    def send(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        found = self._client.quic._streams.get(stream)
        if found is not None and found.sender._reset_error_code is None:
            self._client.send(stream, data, fin=fin)

    def reset(self, stream: int, code: int) -> None:
        self._client.quic.reset_stream(stream, to_http_code(code))

    def stop(self, stream: int, code: int) -> None:
        if stream in self._client.quic._streams:
            self._client.quic.stop_stream(stream, to_http_code(code))

    def unsent(self, stream: int) -> int:
        found = self._client.quic._streams.get(stream)
        return 0 if found is None else len(found.sender._buffer)

    def close(self, code: int = 0, reason: str = "") -> None:
        assert self._client.http is not None
        session = self._client.session_id or 0
        self._client.http.send_data(session, encode_close(code, reason), end_stream=True)
        self.closes.append((code, reason))

    def deliver(self) -> None:
        """Tell the receiver what has come."""
        assert self.receiver is not None
        told, self._seen = self._client.told[self._seen :], len(self._client.told)
        http, self._seen_http = self._client.http_told[self._seen_http :], len(self._client.http_told)
        for item in http:
            if isinstance(item, WebTransportStreamDataReceived):
                self.receiver.data(item.stream_id, item.data, fin=item.stream_ended)
            elif isinstance(item, DataReceived) and not self.closes:
                close = self._client.close_capsule()
                if close is not None:
                    self.closes.append((close.code, close.reason))
        for event in told:
            if isinstance(event, StreamReset):
                self.receiver.stream_reset(event.stream_id, from_http_code(event.error_code))
            elif isinstance(event, StopSendingReceived):
                self.receiver.stopped(event.stream_id, from_http_code(event.error_code))


class FarCaller(Caller):
    """A caller that is far away.

    Attributes:
        came: when each object of the mix came, and its place in the track.
    """

    def __init__(self, world: World, damage: Callable[[bytes], list[float]]) -> None:
        super().__init__(world)
        self.network = Network(damage=damage, accept=world.kind.accept, now=trio.current_time())
        self.client = self.network.client()
        self.came: list[tuple[float, int, int]] = []
        self.far = ClientEnd(self.client)
        self.session._transport = self.far
        self.far.receiver = self.session

    async def join(self, query: str) -> None:
        """Open the session, as far as the network allows."""
        await self.pass_time(3.0)
        self.client.connect(query)
        await self.pass_time(1.0)
        self.session.open()
        await self.pass_time(0.5)
        self.session.announce(MIC)
        self.session.subscribe(Track(MIX, b"audio"), self.mix.heard)
        await self.pass_time(1.0)

    def move(self) -> None:
        """Let the network come to the present."""
        self.network.run(trio.current_time() - self.network.now)
        before = len(self.mix.heard.objects)
        self.far.deliver()
        self.came += [
            (trio.current_time(), group, number) for group, number, _ in self.mix.heard.objects[before:]
        ]

    async def pass_time(self, seconds: float) -> None:
        """Wait while only the network moves."""
        for _ in range(round(seconds / TICK_S)):
            self.move()
            await trio.sleep(TICK_S)

    async def talk(self, seconds: float) -> None:
        """Let time pass: everybody speaks, the plane ticks, and the network moves all the while."""
        engine = self.world.engine
        for _ in range(round(seconds / TICK_S)):
            for caller in (*self.world.callers, self):
                caller.speak()
                if caller is not self:
                    caller.pair.deliver()
            engine.plane.tick(trio.current_time(), trio.current_time())
            for _ in range(STEPS):
                await trio.sleep(TICK_S / STEPS)
                self.move()
            for caller in self.world.callers:
                caller.pair.deliver()
