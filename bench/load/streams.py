"""Audio of all legs: packets built and read as columns of one matrix, sent on an absolute grid.

A leg sends in one of twenty slots of a millisecond, so arrivals at the server are spread over its tick.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Container
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.codecs import Speaker
from bench.figures import Spread
from bench.load.digits import Digits
from bench.load.sip import EVENT_PAYLOAD_TYPE
from bench.tones import FRAME, FRAMES_PER_S, RATE_HZ, SILENCE, tone_frames

SLOTS: Final = 20
HEADER: Final = 12
MAX_DATAGRAM: Final = 2048
ROWS: Final = 256
WIDEST: Final = 480
"""Most bytes of a payload in formats other than PCMU."""
_PHASE_STEP: Final = 7
_BURST_STEP: Final = 61
"""Packets between the bursts of neighbours where they are spread."""
_SO_TIMESTAMPNS: Final = getattr(socket, "SO_TIMESTAMPNS", 35)
_TIMESPEC: Final = struct.Struct("@qq")
_ANCILLARY: Final = socket.CMSG_SPACE(_TIMESPEC.size)


@dataclass(frozen=True, slots=True)
class Bursts:
    """Talking in bursts.

    Attributes:
        on: packets of tone.
        off: packets of silence that follow.
        spread: let talkers begin one after the other instead of all at once.
    """

    on: int
    off: int
    spread: bool = False


Probed = tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.int64]]
"""Legs, RTP times and kernel time stamps of some packets."""


class Sender:
    """The outgoing streams.

    Args:
        sockets: one per leg.
        amplitude: level of every tone; nobody may talk at 0.
        bursts: how to talk; without a break when None.
        talkers: the first so many legs may talk.
    """

    def __init__(
        self,
        sockets: list[socket.socket],
        amplitude: float,
        bursts: Bursts | None,
        talkers: int = 1 << 31,
    ) -> None:
        legs = len(sockets)
        random = np.random.default_rng(legs)
        self.sent = np.zeros(legs, np.int64)
        self.errors = 0
        self.talking = np.zeros(legs, np.bool_)
        self.onsets_ns: list[tuple[int, int]] = []
        self.no_more_bursts = False
        self.digits = Digits()
        self._bursts = bursts
        period = bursts.on + bursts.off if bursts is not None else 1
        self._period = period
        is_spread = bursts is not None and bursts.spread
        self._shift = np.arange(legs) * (_BURST_STEP if is_spread else 0) % period
        self._is_voiced = np.zeros(legs, np.bool_)
        talkers = min(legs, talkers) if amplitude else 0
        self._tones = tone_frames(talkers, amplitude, same_phase=bursts is not None)
        self._rows = np.zeros((legs, HEADER + FRAME), np.uint8)
        self._rows[:, :2] = (0x80, 0x80)
        self._sequence = self._rows[:, 2:4].view(">u2")[:, 0]
        self._time = self._rows[:, 4:8].view(">u4")[:, 0]
        self._sequence[:] = random.integers(0, 1 << 16, legs)
        self._time[:] = random.integers(0, 1 << 32, legs)
        self._rows[:, 8:12].view(">u4")[:, 0] = random.integers(1, 1 << 32, legs)
        self._send = [sock.send for sock in sockets]
        self._views = [row.data for row in self._rows]
        places = np.arange(legs) * _PHASE_STEP % SLOTS
        self._slots = [np.flatnonzero(places == slot) for slot in range(SLOTS)]

    def send_batch(self, batch: int) -> None:
        """Send the packets of one millisecond of the grid."""
        slot = self._slots[batch % SLOTS]
        legs = slot[self.talking[slot]]
        if not legs.size:
            return
        begins = self._load_payloads(legs, batch // SLOTS)
        for leg in legs.tolist():
            if leg in begins:
                self.onsets_ns.append((leg, time.time_ns()))
            packet = self.digits.packet(leg, self._rows[leg]) if self.digits else None
            try:
                self._send[leg](self._views[leg] if packet is None else packet)
            except OSError:  # the far end of this leg is gone; the server's count will tell
                self.errors += 1
        self._rows[legs, 1] = 0
        self._sequence[legs] += 1
        self._time[legs] += FRAME
        self.sent[legs] += 1

    def talk(self, leg: int, wanted: bool) -> None:
        """Begin or cease to send audio; bursts begin with the next one that is due."""
        self.talking[leg] = wanted
        self._is_voiced[leg] = False

    def _load_payloads(self, legs: NDArray[np.intp], tick: int) -> set[int]:
        """Fill the payloads of a tick and return the legs whose burst begins with it."""
        if self._bursts is None:
            self._rows[legs, HEADER:] = self._tones[legs, tick % FRAMES_PER_S]
            return set()
        places = (tick + self._shift[legs]) % self._period
        begins = (places == 0) & (not self.no_more_bursts)
        self._is_voiced[legs] = np.where(places < self._bursts.on, self._is_voiced[legs] | begins, False)
        voiced = self._is_voiced[legs]
        self._rows[legs, HEADER:] = SILENCE
        self._rows[legs[voiced], HEADER:] = self._tones[legs[voiced], places[voiced] % FRAMES_PER_S]
        return set(legs[begins].tolist())


class Capture:
    """Room for the next packets of every leg.

    Args:
        legs: how many.
        packets: how many of each are kept.
        width: most bytes of a payload.
    """

    def __init__(self, legs: int, packets: int, width: int = FRAME) -> None:
        self.width = width
        self.count = np.zeros(legs, np.int64)
        self.sizes = np.zeros((legs, packets), np.int64)
        self.payloads = np.full((legs, packets, width), SILENCE, np.uint8)
        self.stamps = np.zeros((legs, packets), np.uint32)
        self.arrival_ns = np.zeros((legs, packets), np.int64)

    def add(
        self,
        legs: NDArray[np.int64],
        payloads: NDArray[np.uint8],
        stamps: NDArray[np.uint32],
        arrival_ns: NDArray[np.int64],
        sizes: NDArray[np.int64] | int = FRAME,
    ) -> None:
        """Keep one packet of each leg that has room."""
        fits = self.count[legs] < self.stamps.shape[1]
        chosen = legs[fits]
        places = self.count[chosen]
        self.payloads[chosen, places] = payloads[fits]
        self.stamps[chosen, places] = stamps[fits]
        self.arrival_ns[chosen, places] = arrival_ns[fits]
        self.sizes[chosen, places] = np.broadcast_to(sizes, fits.shape)[fits]
        self.count[chosen] += 1


class Receiver:
    """The incoming streams.

    Args:
        sockets: one per leg.
        probes: the legs of which it is read when the kernel took each packet, at some cost.
        speakers: formats of the legs, frames of PCMU when None.
    """

    def __init__(
        self, sockets: list[socket.socket], probes: Container[int], speakers: list[Speaker] | None = None
    ) -> None:
        legs = len(sockets)
        forms = None if speakers is None else [speaker.form for speaker in speakers]
        self.clock_hz = np.array([form.clock_hz for form in forms] if forms else [RATE_HZ] * legs)
        self._types = None if forms is None else np.array([form.payload_type for form in forms], np.uint8)
        self.received = np.zeros(legs, np.int64)
        self.odd = 0
        self.digit_packets = 0
        self.backwards = 0
        self.capture: Capture | None = None
        self.probed: list[Probed] = []
        self._first = np.zeros(legs, np.int64)
        self._last = np.zeros(legs, np.int64)
        self._poll = select.epoll()
        self._sockets = {sock.fileno(): (leg, sock, leg in probes) for leg, sock in enumerate(sockets)}
        for leg, sock in enumerate(sockets):
            self._poll.register(sock, select.EPOLLIN)
            if leg in probes:
                sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._rows = np.zeros((ROWS, MAX_DATAGRAM), np.uint8)
        self._views = [row.data for row in self._rows]
        self._lengths = np.zeros(ROWS, np.int64)
        self._legs = np.zeros(ROWS, np.int64)
        self._arrival_ns = np.zeros(ROWS, np.int64)

    def restart(self, leg: int) -> None:
        """Begin to count a leg's packets anew: the next ones are those of another call."""
        self.received[leg] = 0

    def lost(self) -> NDArray[np.int64]:
        """Return how many packets each leg misses between its first and its last."""
        return np.where(self.received > 0, self._last - self._first + 1 - self.received, 0)

    def drain(self) -> int:
        """Take at most one packet from each ready socket and return how many were taken."""
        taken = 0
        for handle, _ in self._poll.poll(0, ROWS):
            leg, sock, is_probe = self._sockets[handle]
            try:
                if is_probe:
                    length, ancillary, _, _ = sock.recvmsg_into([self._views[taken]], _ANCILLARY)
                    seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
                    self._arrival_ns[taken] = seconds * 1_000_000_000 + nanoseconds
                else:
                    length = sock.recv_into(self._views[taken])
                    self._arrival_ns[taken] = 0
            except OSError:  # an ICMP error of an earlier send
                continue
            self._lengths[taken] = length
            self._legs[taken] = leg
            taken += 1
        if taken:
            self._account(taken)
        return taken

    def _account(self, taken: int) -> None:
        rows, lengths = self._rows[:taken], self._lengths[:taken]
        is_rtp = (lengths >= HEADER) & ((rows[:, 1] < 192) | (rows[:, 1] > 223))
        is_audio = is_rtp & (rows[:, 0] == 0x80)
        if self._types is None:
            is_audio &= lengths == HEADER + FRAME
        else:
            is_audio &= (rows[:, 1] & 0x7F == self._types[self._legs[:taken]]) & (lengths <= HEADER + WIDEST)
        is_digit = is_rtp & (rows[:, 1] & 0x7F == EVENT_PAYLOAD_TYPE)
        self.digit_packets += int(np.count_nonzero(is_digit))
        self.odd += int(np.count_nonzero(is_rtp & ~is_audio & ~is_digit))
        self._follow(rows[is_audio | is_digit], self._legs[:taken][is_audio | is_digit])
        rows, legs = rows[is_audio], self._legs[:taken][is_audio]
        stamps = np.ascontiguousarray(rows[:, 4:8]).view(">u4")[:, 0].astype(np.uint32)
        arrival_ns = self._arrival_ns[:taken][is_audio]
        stamped = arrival_ns > 0
        if stamped.any():
            self.probed.append((legs[stamped], stamps[stamped], arrival_ns[stamped]))
        if self.capture is not None:
            payloads = rows[:, HEADER : HEADER + self.capture.width]
            self.capture.add(legs, payloads, stamps, arrival_ns, lengths[is_audio] - HEADER)

    def _follow(self, rows: NDArray[np.uint8], legs: NDArray[np.int64]) -> None:
        """Count packets and the gaps in their sequence numbers."""
        sequence = rows[:, 2].astype(np.int64) << 8 | rows[:, 3]
        fresh = self.received[legs] == 0
        self._first[legs[fresh]] = sequence[fresh]
        self._last[legs[fresh]] = sequence[fresh] - 1
        steps = (sequence - self._last[legs]).astype(np.int16).astype(np.int64)
        self.backwards += int(np.count_nonzero(steps <= 0))
        self._last[legs] += np.maximum(steps, 0)
        self.received[legs] += 1


def egress_lateness(probed: list[Probed], clock_hz: NDArray[np.int64] | None = None) -> Spread:
    """Return how late packets came by the grid of their stream, whose earliest packet counts as on time.

    Args:
        probed: the packets.
        clock_hz: RTP clock of each leg, that of PCMU when None.
    """
    if not probed:
        return Spread.of(())
    legs, stamps, arrival_ns = (np.concatenate(column) for column in zip(*probed, strict=True))
    late_ms: list[float] = []
    for leg in np.unique(legs):
        mine = legs == leg
        steps = (stamps[mine] - stamps[mine][0]).astype(np.int32)
        rate_hz = RATE_HZ if clock_hz is None else int(clock_hz[leg])
        behind_ns = arrival_ns[mine] - steps.astype(np.int64) * 1_000_000_000 // rate_hz
        late_ms += ((behind_ns - behind_ns.min()) / 1e6).tolist()
    return Spread.of(late_ms)
