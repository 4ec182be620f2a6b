"""A program that calls over MoQ: draft 11 of the transport, as far as a call needs it, written by hand."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import trio

from conformance.expect import Difference, check, require
from conformance.peers.mailbox import Mailbox
from conformance.peers.measure import Pcm, level_db, tones_of
from conformance.peers.payload import make_codec
from conformance.peers.webtransport import HeaderList, WebTransportClient, open_webtransport

VERSION = 0xFF00000B
RATE_HZ = 48000
FRAME = 960
PATH = "/v1/legs/moq"
CLIENT_SETUP, SERVER_SETUP, MAX_REQUEST_ID = 0x20, 0x21, 0x15
SUBSCRIBE, SUBSCRIBE_OK, SUBSCRIBE_ERROR, UNSUBSCRIBE, SUBSCRIBE_DONE = 0x3, 0x4, 0x5, 0xA, 0xB
ANNOUNCE, ANNOUNCE_OK = 0x6, 0x7


def number(value: int) -> bytes:
    """A QUIC integer."""
    for size, prefix in ((1, 0), (2, 1), (4, 2)):
        if value < 1 << (8 * size - 2):
            return (value | prefix << (8 * size - 2)).to_bytes(size)
    return (value | 3 << 62).to_bytes(8)


def text(value: bytes) -> bytes:
    """Bytes behind their length."""
    return number(len(value)) + value


class Bytes:
    """Something to read from."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        """So many bytes.

        Raises:
            IndexError: when there are fewer.
        """
        if self.at + count > len(self.data):
            raise IndexError
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self) -> int:
        """A QUIC integer."""
        size = 1 << (self.take(1)[0] >> 6)
        self.at -= 1
        return int.from_bytes(self.take(size)) & ((1 << (8 * size - 2)) - 1)

    def text(self) -> bytes:
        """Bytes behind their length."""
        return self.take(self.number())


@dataclass
class Message:
    """A control message of the server."""

    kind: int
    body: bytes


@dataclass
class MoqObject:
    """What came on a stream of objects."""

    at: float
    alias: int
    group: int
    number: int
    payload: bytes


@dataclass
class _Stream:
    data: bytearray = field(default_factory=bytearray)
    head: tuple[int, int] | None = None


class MoqPeer(WebTransportClient):
    """One program with a session.

    Attributes:
        messages: what came on the control stream.
        objects: what came on all others.
        wanted: aliases that the server gave to our tracks, by name.
        asked: aliases that we gave to the server's.
    """

    def __init__(self, host: str, port: int, idle_timeout_s: float) -> None:
        super().__init__(host, port, idle_timeout_s)
        self.messages: Mailbox[Message] = Mailbox()
        self.objects: list[MoqObject] = []
        self.wanted: dict[bytes, int] = {}
        self.asked: dict[bytes, int] = {}
        self._control = -1
        self._control_data = b""
        self._parts: dict[int, _Stream] = {}
        self._request = 0
        self._gone = False
        self._groups: dict[bytes, int] = {}
        self._encode, self._decode = make_codec("opus"), make_codec("opus")

    # -- control -------------------------------------------------------------------------------------------

    def set_up(self, *versions: int, allowed: int = 100) -> None:
        """Opens the control stream and says what is spoken."""
        self._control = self.open_stream(bidirectional=True)
        body = number(len(versions)) + b"".join(map(number, versions))
        self.say(CLIENT_SETUP, body + number(1) + number(2) + number(allowed))

    def say(self, kind: int, body: bytes) -> None:
        """Sends a control message."""
        self.send(self._control, number(kind) + len(body).to_bytes(2) + body)

    def ask(self, name: bytes, *, alias: int) -> int:
        """Subscribes to a track of the server's mix; returns the id of the request."""
        self.asked[name] = alias
        request, self._request = self._request, self._request + 2
        track = number(1) + text(b"mix") + text(name)
        self.say(SUBSCRIBE, number(request) + number(alias) + track + b"\x80\0\1" + number(2) + number(0))
        return request

    def unsubscribe(self, request: int) -> None:
        """Wants no more of it."""
        self.say(UNSUBSCRIBE, number(request))

    def announce(self) -> None:
        """Says that there is a microphone."""
        request, self._request = self._request, self._request + 2
        self.say(ANNOUNCE, number(request) + number(1) + text(b"mic") + number(0))

    async def message(self, kind: int, within_s: float = 3.0) -> Bytes:
        """The next message of a kind.

        Raises:
            Difference: when none comes in time.
        """
        found = await self.messages.take(lambda message: message.kind == kind, within_s)
        if found is None:
            seen = [hex(message.kind) for message in self.messages.unread()]
            raise Difference("moq", f"message {kind:#x}", f"none within {within_s} s; unread {seen}")
        return Bytes(found.body)

    def received(self, stream: int, data: bytes, *, fin: bool) -> None:
        """Takes bytes of a stream of the session."""
        if stream == self._control:
            self._control_data += data
            for message in self._cut():
                self._answer(message)
                self.messages.put(message)
            return
        part = self._parts.setdefault(stream, _Stream())
        part.data += data
        self._read(part)
        if fin:
            del self._parts[stream]

    def _cut(self) -> Iterator[Message]:
        while True:
            reader = Bytes(self._control_data)
            try:
                kind = reader.number()
                body = reader.take(int.from_bytes(reader.take(2)))
            except IndexError:
                return
            self._control_data = self._control_data[reader.at :]
            yield Message(kind, body)

    def _answer(self, message: Message) -> None:
        reader = Bytes(message.body)
        if message.kind == ANNOUNCE:
            self.say(ANNOUNCE_OK, number(reader.number()))
        elif message.kind == SUBSCRIBE:
            request, alias = reader.number(), reader.number()
            namespace = [reader.text() for _ in range(reader.number())]
            check("moq: namespace that is subscribed to", namespace, [b"mic"])
            self.wanted[reader.text()] = alias
            self.say(SUBSCRIBE_OK, number(request) + number(0) + b"\1\0" + number(0))

    def vanish(self) -> None:
        """Sends nothing any more, not even a goodbye."""
        self._gone = True

    async def _flush(self) -> None:
        if self._gone:
            self._take_events()
            self.quic.datagrams_to_send(trio.current_time())
        else:
            await super()._flush()

    # -- objects -------------------------------------------------------------------------------------------

    def _read(self, part: _Stream) -> None:
        reader = Bytes(bytes(part.data))
        done = 0
        try:
            if part.head is None:
                check("moq: type of a stream", reader.number(), 0x08)
                head = reader.number(), reader.number()
                reader.take(1)
                part.head, done = head, reader.at
            while reader.at < len(part.data):
                identifier, payload = reader.number(), reader.text()
                require(payload != b"", "moq: an object", "a payload", payload)
                self.objects.append(MoqObject(trio.current_time(), *part.head, identifier, payload))
                done = reader.at
        except IndexError:
            pass
        del part.data[:done]

    def put(self, name: bytes, payload: bytes) -> None:
        """Sends an object in a group of its own."""
        group = self._groups.get(name, 0)
        self._groups[name] = group + 1
        stream = self.open_stream(bidirectional=False)
        head = number(0x08) + number(self.wanted[name]) + number(group) + b"\x80"
        self.send(stream, head + number(0) + text(payload), fin=True)

    def put_datagram(self, name: bytes, payload: bytes) -> None:
        """Sends an object as a datagram, in a group of its own."""
        group = self._groups.get(name, 0)
        self._groups[name] = group + 1
        self.send_datagram(number(0) + number(self.wanted[name]) + number(group) + b"\0\x80" + payload)

    async def talk(self, hertz: float, level: float = -18.0, *, datagrams: bool = False) -> None:
        """Plays a tone until cancelled, each frame in a group of its own."""
        put = self.put_datagram if datagrams else self.put
        amplitude = 32768 * 10 ** (level / 20) * math.sqrt(2)
        begun, frames = trio.current_time(), 0
        while self.ended is None:
            steps = np.arange(FRAME) + frames * FRAME
            pcm = (amplitude * np.sin(2 * math.pi * hertz * steps / RATE_HZ)).astype(np.int16)
            payload = self._encode.encode(pcm)
            if payload:  # the encoder may want more before it gives anything
                put(b"audio", payload)
            frames += 1
            await trio.sleep_until(begun + frames / 50)

    def texts(self) -> list[str]:
        """What came as text."""
        alias = self.asked.get(b"text")
        return [item.payload.decode() for item in self.objects if item.alias == alias]

    async def listen(self, for_ms: int = 500) -> Pcm:
        """What is heard for a while, a moment from now.

        Raises:
            Difference: when frames are missing, or come in another order.
        """
        await trio.sleep(0.2)
        begun = trio.current_time()
        await trio.sleep(for_ms / 1000)
        alias = self.asked[b"audio"]
        heard = [item for item in self.objects if item.alias == alias and item.at >= begun]
        rate = len(heard) / (for_ms / 1000)
        require(40 <= rate <= 60, "moq: frames a second", "about 50", rate)
        places = [(item.group, item.number) for item in heard]
        check("moq: order of objects", places, sorted(places))
        return np.concatenate([self._decode.decode(item.payload) for item in heard])

    async def hears(self, tones: list[int], *, for_ms: int = 500, level: float = -18.0) -> None:
        """Listens for a while and checks tones and level.

        Raises:
            Difference: when something differs.
        """
        pcm = await self.listen(for_ms)
        found = tones_of(pcm, RATE_HZ)
        require(
            len(found) == len(tones) and all(abs(a - b) <= 10 for a, b in zip(found, tones, strict=True)),
            "moq: tones",
            tones,
            found,
        )
        if tones:
            expected = level + 10 * math.log10(len(tones))
            require(abs(level_db(pcm) - expected) < 3, "moq: level", expected, level_db(pcm))

    async def hears_nothing(self, for_ms: int = 300) -> None:
        """Checks that no object comes for a while."""
        count = len(self.objects)
        await trio.sleep(for_ms / 1000)
        check("moq: objects", len(self.objects) - count, 0)

    async def wait_closed(self, within_s: float = 3.0) -> int:
        """Waits for the server's close capsule and returns its code.

        Raises:
            Difference: when it does not come.
        """
        try:
            await self.until(lambda: self.closed is not None, within_s)
        except trio.TooSlowError:
            raise Difference("moq", "a close capsule", "none") from None
        assert self.closed is not None
        return self.closed[0]


@asynccontextmanager
async def open_moq(
    address: tuple[str, int], query: str = "", headers: HeaderList = (), *, idle_timeout_s: float = 30.0
) -> AsyncIterator[MoqPeer]:
    """A program that has called in; setup is still to be done.

    Raises:
        Difference: when the session is refused.
    """
    async with open_webtransport(*address, idle_timeout_s, MoqPeer) as peer:
        assert isinstance(peer, MoqPeer)
        status = await peer.open_session(f"{PATH}?{query}" if query else PATH, headers)
        check("moq: status", status, 200)
        yield peer
