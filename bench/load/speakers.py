"""Outgoing streams of any format and packet time, on the same grid of milliseconds as those of `streams`."""

from __future__ import annotations

import socket
import struct
from math import lcm
from typing import Final

import numpy as np

from bench.codecs import Speaker, payloads_of
from bench.load.digits import Digits
from bench.tones import tone_frequencies

_PHASE_STEP: Final = 7
_GRID: Final = lcm(10, 20, 30, 40)
"""Milliseconds after which the same callers send again."""
_HEADER: Final = struct.Struct("!BBHII")


class SpeakerSender:
    """The outgoing streams of callers who speak unlike each other.

    Args:
        sockets: one per leg.
        amplitude: level of every tone.
        speakers: what each leg sends.
    """

    def __init__(self, sockets: list[socket.socket], amplitude: float, speakers: list[Speaker]) -> None:
        legs = len(sockets)
        random = np.random.default_rng(legs)
        self.sent = np.zeros(legs, np.int64)
        self.errors = 0
        self.talking = np.zeros(legs, np.bool_)
        self.onsets_ns: list[tuple[int, int]] = []
        self.no_more_bursts = False
        self.digits = Digits()
        frequencies = tone_frequencies(legs).tolist()
        self._payloads = [
            payloads_of(speaker, frequencies[leg], amplitude) for leg, speaker in enumerate(speakers)
        ]
        self._places = [0] * legs
        self._types = [speaker.form.payload_type for speaker in speakers]
        self._steps = [speaker.clock_step for speaker in speakers]
        self._sequence: list[int] = random.integers(0, 1 << 16, legs).tolist()
        self._time: list[int] = random.integers(0, 1 << 32, legs).tolist()
        self._ssrc: list[int] = random.integers(1, 1 << 32, legs).tolist()
        self._send = [sock.send for sock in sockets]
        self._due: list[list[int]] = [[] for _ in range(_GRID)]
        for leg, speaker in enumerate(speakers):
            for at in range(leg * _PHASE_STEP % speaker.ptime_ms, _GRID, speaker.ptime_ms):
                self._due[at].append(leg)

    def send_batch(self, batch: int) -> None:
        """Send the packets of one millisecond of the grid."""
        for leg in self._due[batch % _GRID]:
            if not self.talking[leg]:
                continue
            payloads, place = self._payloads[leg], self._places[leg]
            payload = payloads[place]
            self._places[leg] = (place + 1) % len(payloads)
            stamp = self._time[leg]
            self._time[leg] = (stamp + self._steps[leg]) & 0xFFFF_FFFF
            if payload is None:
                continue
            sequence = self._sequence[leg]
            self._sequence[leg] = (sequence + 1) & 0xFFFF
            head = _HEADER.pack(0x80, self._types[leg], sequence, stamp, self._ssrc[leg])
            try:
                self._send[leg](head + payload)
            except OSError:  # the far end of this leg is gone; the server's count will tell
                self.errors += 1
            self.sent[leg] += 1

    def talk(self, leg: int, wanted: bool) -> None:
        """Begin or cease to send."""
        self.talking[leg] = wanted
