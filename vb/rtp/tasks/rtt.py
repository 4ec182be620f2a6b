"""The driver of a leg's real-time text: one socket, one timer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Protocol

import trio

from vb.ids import IdSource
from vb.rtp.latching import Address
from vb.rtp.packet import PacketKind, classify
from vb.rtp.rtt_receiver import TextChunk
from vb.rtp.rtt_session import TextSession
from vb.rtp.tasks.endpoint import RtpEndpoint
from vb.sdp.text import AgreedText

_MAX_DATAGRAM_BYTES: Final = 4096
_BATCH: Final = 16
_BATCH_PAUSE_S: Final = 0.01
"""Between two batches; a flood fills the kernel's buffer, not our time."""


class TextGuard(Protocol):
    """Protects the packets of a stream, such as SRTP."""

    def protect(self, packet: bytes) -> bytes | None:
        """Return a packet as it is to be sent; None for one that must not be."""
        ...

    def unprotect(self, packet: bytes) -> bytes | None:
        """Return what is in a packet that came; None for one that is refused."""
        ...


class TextStream:
    """The text of one leg over its own port pair.

    Args:
        endpoint: the pair; text uses its RTP socket, reports are neither sent nor read.
        ids: source of random first numbers.
        relearn: whether a silent source may be replaced without new SDP.

    Attributes:
        guard: what is done to each packet; None for nothing.
        on_other: gets STUN and DTLS, with their source; must not wait.
        refused: packets that the guard has refused, either way.
    """

    def __init__(self, endpoint: RtpEndpoint, ids: IdSource, *, relearn: bool = True) -> None:
        self.session = TextSession(ids, trio.current_time(), relearn=relearn)
        self.guard: TextGuard | None = None
        self.on_other: Callable[[PacketKind, bytes, Address], None] | None = None
        self.refused = 0
        self._endpoint = endpoint
        self._woken = trio.Event()

    def send(self, data: bytes, destination: Address) -> None:
        """Send something that is no text from the stream's socket."""
        self._endpoint.send_rtp(data, destination)

    def configure(self, agreed: AgreedText | None) -> None:
        """Follow a completed offer/answer."""
        self.session.configure(agreed, trio.current_time())
        self._woken.set()

    def queue(self, text: str) -> bool:
        """Append text to what is to be sent; False when too much waits already."""
        taken = self.session.queue(text, trio.current_time())
        self._woken.set()
        return taken

    async def run(self, on_text: Callable[[TextChunk], None]) -> None:
        """Send and receive until cancelled.

        Args:
            on_text: told what arrived, in order; must not wait.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, on_text)
            nursery.start_soon(self._keep_time, on_text)

    async def _listen(self, on_text: Callable[[TextChunk], None]) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._endpoint.rtp)
            for _ in range(_BATCH):
                try:
                    data, source = self._endpoint.rtp.recvfrom(_MAX_DATAGRAM_BYTES)
                except OSError:
                    break
                self._take(data, (source[0], source[1]), on_text)
            self._woken.set()
            await trio.sleep(_BATCH_PAUSE_S)

    def _take(self, data: bytes, source: Address, on_text: Callable[[TextChunk], None]) -> None:
        kind = classify(data)
        if kind in (PacketKind.STUN, PacketKind.DTLS):
            if self.on_other is not None:
                self.on_other(kind, data, source)
            return
        if self.guard is not None and kind is PacketKind.RTP:
            opened = self.guard.unprotect(data)
            if opened is None:
                self.refused += 1
                return
            data = opened
        chunk = self.session.receive(data, source, trio.current_time())
        if chunk is not None:
            on_text(chunk)

    def _send_text(self, data: bytes, destination: Address) -> None:
        sealed = data if self.guard is None else self.guard.protect(data)
        if sealed is None:
            self.refused += 1
        else:
            self._endpoint.send_rtp(sealed, destination)

    async def _keep_time(self, on_text: Callable[[TextChunk], None]) -> None:
        while True:
            self._woken = trio.Event()
            now = trio.current_time()
            packet = self.session.packet(now)
            if packet is not None:
                self._send_text(*packet)
            chunk = self.session.expire(now)
            if chunk is not None:
                on_text(chunk)
            deadline = self.session.deadline
            with trio.move_on_at(math.inf if deadline is None else deadline):
                await self._woken.wait()
