"""The driver of a leg's real-time text: one socket, one timer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import trio

from vb.ids import IdSource
from vb.rtp.rtt_receiver import TextChunk
from vb.rtp.rtt_session import TextSession
from vb.rtp.tasks.endpoint import RtpEndpoint
from vb.sdp.text import AgreedText

_MAX_DATAGRAM_BYTES: Final = 4096
_BATCH: Final = 16
_BATCH_PAUSE_S: Final = 0.01
"""Between two batches; a flood fills the kernel's buffer, not our time."""


class TextStream:
    """The text of one leg over its own port pair.

    Args:
        endpoint: the pair; text uses its RTP socket, reports are neither sent nor read.
        ids: source of random first numbers.
        relearn: whether a silent source may be replaced without new SDP.
    """

    def __init__(self, endpoint: RtpEndpoint, ids: IdSource, *, relearn: bool = True) -> None:
        self.session = TextSession(ids, trio.current_time(), relearn=relearn)
        self._endpoint = endpoint
        self._woken = trio.Event()

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
                chunk = self.session.receive(data, (source[0], source[1]), trio.current_time())
                if chunk is not None:
                    on_text(chunk)
            self._woken.set()
            await trio.sleep(_BATCH_PAUSE_S)

    async def _keep_time(self, on_text: Callable[[TextChunk], None]) -> None:
        while True:
            self._woken = trio.Event()
            now = trio.current_time()
            packet = self.session.packet(now)
            if packet is not None:
                self._endpoint.send_rtp(*packet)
            chunk = self.session.expire(now)
            if chunk is not None:
                on_text(chunk)
            deadline = self.session.deadline
            with trio.move_on_at(math.inf if deadline is None else deadline):
                await self._woken.wait()
