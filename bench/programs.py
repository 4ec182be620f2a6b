"""Programs on WebSockets: many in one loop, each in a room with another one, and phones after them."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from bench.application import Application
from bench.bed import RAMP_MOST_UNFINISHED, RAMP_RATE, SETTLE_S, Bed, Load, call_faults, open_bed, set_up
from bench.cases import PAIR_AMPLITUDE, WebSocketCase, rooms_of
from bench.events import Message
from bench.figures import Spread
from bench.host import load_average
from bench.outcome import Options, Outcome, WebSocketFigures
from bench.tones import tone_frequencies
from bench.websocket import WebSocket, masked_frame, take_frame
from bench.window import TICK_S, measure

RATE_HZ: Final = 16000
FRAME_BYTES: Final = 640
_BINARY: Final = 2
_READ_BYTES: Final = 65_536
_CHECKED_S: Final = 1.0
_LEAST_MATE: Final = 0.5
_MOST_OTHER: Final = 0.05


class Programs:
    """So many WebSocket legs.

    Args:
        bed: where the server is.
        rooms: the room of each.
    """

    def __init__(self, bed: Bed, rooms: Sequence[str]) -> None:
        self._frequencies = tone_frequencies(len(rooms))
        self._sockets: list[socket.socket] = []
        self._data: list[bytearray] = []
        self.heard: list[list[bytes]] = [[] for _ in rooms]
        self.gaps_ms: list[float] = []
        self._last: list[float | None] = [None] * len(rooms)
        self._tones = [_tone(int(hertz)) for hertz in self._frequencies]
        self._tick = 0
        for room in rooms:
            opened = WebSocket(
                bed.server.http_host, bed.server.http_port, f"/v1/legs/websocket?room_id={room}"
            )
            sock, rest = opened.detach()
            sock.setblocking(False)
            self._sockets.append(sock)
            self._data.append(rest)
        self._numbers = {sock.fileno(): number for number, sock in enumerate(self._sockets)}
        self._poll = select.epoll()
        for sock in self._sockets:
            self._poll.register(sock.fileno(), select.EPOLLIN)

    def talk(self, seconds: float) -> None:
        """Send a frame of everybody every 20 ms, and take what comes."""
        began = time.monotonic()
        for tick in range(round(seconds / TICK_S)):
            for sock, tones in zip(self._sockets, self._tones, strict=True):
                sock.send(tones[self._tick % len(tones)])
            self._tick += 1
            due = began + (tick + 1) * TICK_S
            while (left := due - time.monotonic()) > 0:
                for descriptor, _ in self._poll.poll(left):
                    self._take(self._numbers[descriptor])

    def _take(self, number: int) -> None:
        now = time.monotonic()
        self._data[number] += self._sockets[number].recv(_READ_BYTES)
        while (frame := take_frame(self._data[number])) is not None:
            if frame[0] != _BINARY:
                continue
            last, self._last[number] = self._last[number], now
            if last is not None:
                self.gaps_ms.append((now - last) * 1000)
            self.heard[number].append(frame[1])

    def forget(self) -> None:
        """Begin to count anew."""
        self.gaps_ms.clear()
        for heard in self.heard:
            heard.clear()

    def faults(self) -> list[str]:
        """Return who does not hear his mate, and him alone."""
        found = []
        count = round(_CHECKED_S / TICK_S)
        for number, frames in enumerate(self.heard):
            pcm = np.frombuffer(b"".join(frames[-count:]), "<i2")
            mate = _level(pcm, int(self._frequencies[number ^ 1]))
            own = _level(pcm, int(self._frequencies[number]))
            if mate < _LEAST_MATE or own > _MOST_OTHER:
                found.append(f"program {number} hears {mate:.2f} of its mate and {own:.2f} of itself")
        return found[:5]

    def close(self) -> None:
        """End all of them."""
        self._poll.close()
        for sock in self._sockets:
            sock.close()


class ProgramApplication(Application):
    """Leaves programs, who name their room themselves, alone."""

    def react(self, message: Message) -> None:
        """Do as usual about phones."""
        if message.get("leg_type") != "websocket_in":
            super().react(message)


def _tone(hertz: int) -> list[bytes]:
    """Return a second of a tone as frames that are ready to be sent."""
    steps = np.arange(RATE_HZ)
    pcm = (PAIR_AMPLITUDE * np.sin(2 * np.pi * hertz * steps / RATE_HZ)).astype("<i2").tobytes()
    return [
        masked_frame(_BINARY, pcm[at : at + FRAME_BYTES], b"\x1a\x2b\x3c\x4d")
        for at in range(0, len(pcm), FRAME_BYTES)
    ]


def _level(pcm: np.ndarray[tuple[int], np.dtype[np.int16]], hertz: int) -> float:
    """Return how loud a tone is, of what was sent."""
    if not pcm.size:
        return 0.0
    wave = np.exp(-2j * np.pi * hertz * np.arange(pcm.size) / RATE_HZ)
    return float(2 * abs(np.mean(pcm * wave)) / PAIR_AMPLITUDE)


def run_websocket(case: WebSocketCase, checkout: Path, options: Options) -> Outcome:
    """Let programs talk over a steady window, then phones, and check what the programs heard."""
    load = Load(case.legs, application=ProgramApplication)
    with open_bed(checkout, load, {"VB_PASS_THROUGH": "false"}, options) as bed:
        rooms = rooms_of(case.legs, "pairs")
        programs = Programs(bed, [f"ws-{room}" for room in rooms])
        programs.talk(SETTLE_S)
        programs.forget()
        used = bed.server.cpu_s()
        programs.talk(options.window_s)
        used = bed.server.cpu_s() - used
        ticks = round(options.window_s / TICK_S)
        faults = programs.faults()
        missing = sum(max(0, ticks - len(heard)) for heard in programs.heard)
        gaps = Spread.of(programs.gaps_ms)
        programs.close()
        bed.wait(SETTLE_S)
        faults += set_up(bed, rooms, RAMP_RATE, RAMP_MOST_UNFINISHED)
        bed.wait(SETTLE_S)
        phones = measure(bed, case.legs, options)
        bed.hang_up(case.legs)
        told = bed.application.counts
        bed.application.pump_until(lambda: told["leg.disconnected"] >= 2 * case.legs, 10.0)
        faults += call_faults(bed, 2 * case.legs, bed.generator.counts())
        figures = WebSocketFigures(
            used * 1e6 / (case.legs * ticks), phones.cpu_us, missing, gaps, load_average()
        )
    return Outcome(figures, tuple(faults))
