"""A program that calls over a WebSocket: frames of 20 ms both ways, and no codec."""

from __future__ import annotations

import itertools

import numpy as np
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from vb.codecs.pcm import Pcm, pcm_bytes
from vb.demo.problem import DemoFailed
from vb.demo.track import FRAME_S, RATE_HZ, HeardTrack, SpokenTrack
from vb.rtp.stats import Quality


class Program:
    """A program for one call; see `vb.demo.caller.Caller`.

    Args:
        name: its app_id, and word on the screen.
        speech: what it says once told to talk, at 8 kHz.
    """

    def __init__(self, name: str, speech: Pcm) -> None:
        self.name = name
        self.said = SpokenTrack(speech)
        self.heard = HeardTrack()
        self.sent = 0
        self.spoken = trio.Event()
        self._heard_samples = 0
        self._hung_up = trio.Event()

    def quality(self) -> Quality | None:
        """Return None: nothing is lost on the way."""
        return None

    def hang_up(self) -> None:
        """End the call."""
        self._hung_up.set()

    async def run(self, url: str) -> None:
        """Call a server and stay until told to hang up.

        Args:
            url: base URL of the server.

        Raises:
            DemoFailed: the server ended the call.
        """
        address = f"{url.replace('http', 'ws', 1)}/v1/legs/websocket?sample_rate={RATE_HZ}&app_id={self.name}"
        async with open_websocket_url(address) as socket, trio.open_nursery() as line:
            line.start_soon(self._send, socket)
            line.start_soon(self._receive, socket)
            await self._hung_up.wait()
            line.cancel_scope.cancel()

    async def _send(self, socket: WebSocketConnection) -> None:
        begun = trio.current_time()
        for number in itertools.count():
            await trio.sleep_until(begun + number * FRAME_S)
            try:
                await socket.send_message(pcm_bytes(self.said.next_pcm()))
            except ConnectionClosed:
                return  # told by the other task
            self.sent += 1
            if self.said.finished:
                self.spoken.set()

    async def _receive(self, socket: WebSocketConnection) -> None:
        while True:
            try:
                message = await socket.get_message()
            except ConnectionClosed:
                raise DemoFailed(f"the server ended the call of the {self.name}") from None
            if isinstance(message, bytes):
                pcm = np.frombuffer(message, "<i2").astype(np.int16)
                self.heard.place(self._heard_samples, pcm)
                self._heard_samples += pcm.size
