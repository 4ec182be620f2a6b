"""How well a stream arrives: packets, loss, jitter and the score reported when a leg ends.

Spec: RFC 3550 §6.4.1, appendices A.3 and A.8.
"""

from dataclasses import dataclass
from typing import Final

from vb.rtp.sequence import Arrival, ExtendedSequence, difference32

MIN_PACKETS_FOR_QUALITY: Final = 2
_JITTER_GAIN = 16
_MAX_TRANSIT_CHANGE_S = 1.0
"""A larger change between two packets is a jump of the sender's timestamps, not jitter."""


@dataclass(frozen=True, slots=True)
class ReceptionSnapshot:
    """State of one incoming source at one moment.

    Attributes:
        ssrc: the source.
        received: packets of any payload type, duplicates included, strays far off in sequence left out.
        expected: packets the source has sent, as far as its sequence numbers tell.
        highest_sequence: extended highest sequence number, 32 bits.
        jitter: interarrival jitter in units of the RTP clock.
        clock_rate_hz: RTP clock of the audio.
    """

    ssrc: int
    received: int
    expected: int
    highest_sequence: int
    jitter: float
    clock_rate_hz: int

    @property
    def lost(self) -> int:
        """Packets that never came; negative when duplicates outnumber them."""
        return self.expected - self.received


@dataclass(frozen=True, slots=True)
class Quality:
    """The `quality` object of `leg.disconnected`."""

    mos_score: float
    rtp_packets_received: int
    rtp_packets_lost: int
    rtp_jitter_ms: float


class InterarrivalJitter:
    """The running jitter estimate of one source, in units of its RTP clock.

    Args:
        clock_rate_hz: RTP clock of the packets.
    """

    def __init__(self, clock_rate_hz: int) -> None:
        self._clock_rate_hz = clock_rate_hz
        self._last: tuple[int, float] | None = None
        self.value = 0.0

    def update(self, timestamp: int, arrival_s: float) -> None:
        """Take note of an audio packet with the time it reached this host."""
        last, self._last = self._last, (timestamp, arrival_s)
        if last is None:
            return
        waited = (arrival_s - last[1]) * self._clock_rate_hz
        change = abs(waited - difference32(timestamp, last[0]))
        if change <= _MAX_TRANSIT_CHANGE_S * self._clock_rate_hz:
            self.value += (change - self.value) / _JITTER_GAIN

    def skip(self) -> None:
        """Leave out the next difference, because the clock or the stream was disturbed."""
        self._last = None


class ReceptionStatistics:
    """Counts what arrives from the source a leg listens to; another SSRC starts it anew.

    Args:
        clock_rate_hz: RTP clock of the audio.
    """

    def __init__(self, clock_rate_hz: int) -> None:
        self.clock_rate_hz = clock_rate_hz
        self._ssrc = 0
        self._sequence: ExtendedSequence | None = None
        self._received = 0
        self._jitter = InterarrivalJitter(clock_rate_hz)

    def receive(self, ssrc: int, sequence: int, timestamp: int, arrival_s: float | None) -> Arrival:
        """Count one packet.

        Args:
            ssrc: its source.
            sequence: its sequence number.
            timestamp: its RTP timestamp.
            arrival_s: when it reached this host; None keeps it out of the jitter, as for packets that are
                not audio and for those stamped while the clock was stepped.
        """
        if self._sequence is None or ssrc != self._ssrc:
            self._ssrc = ssrc
            self._sequence = ExtendedSequence(sequence)
            self._received = 0
            self._jitter = InterarrivalJitter(self.clock_rate_hz)
            arrival = Arrival.NEXT
        else:
            arrival = self._sequence.update(sequence)
        # A suspect counts together with the packet that proves it to be no stray.
        self._received += {Arrival.SUSPECT: 0, Arrival.RESTART: 2}.get(arrival, 1)
        if arrival_s is not None and arrival is Arrival.NEXT:
            self._jitter.update(timestamp, arrival_s)
        elif arrival is not Arrival.LATE:
            self._jitter.skip()
        return arrival

    def snapshot(self) -> ReceptionSnapshot | None:
        """Return the counts so far, or None before the first packet."""
        if self._sequence is None:
            return None
        return ReceptionSnapshot(
            ssrc=self._ssrc,
            received=self._received,
            expected=self._sequence.expected,
            highest_sequence=self._sequence.highest & 0xFFFF_FFFF,
            jitter=self._jitter.value,
            clock_rate_hz=self.clock_rate_hz,
        )


def quality(reception: ReceptionSnapshot | None) -> Quality | None:
    """Return the score of a stream, or None when fewer than two packets make up no stream.

    The score is an E-model estimate: delay is taken as twice the jitter plus 10 ms, and each percent of loss
    costs 2.5 points of the R factor.

    Spec: ITU-T G.107.
    """
    if reception is None or reception.received < MIN_PACKETS_FOR_QUALITY:
        return None
    lost = max(0, reception.lost)
    loss_percent = 100 * lost / (reception.received + lost)
    jitter_ms = 1000 * reception.jitter / reception.clock_rate_hz
    return Quality(
        mos_score=round(mean_opinion_score(jitter_ms, loss_percent), 2),
        rtp_packets_received=reception.received,
        rtp_packets_lost=lost,
        rtp_jitter_ms=round(jitter_ms, 2),
    )


def mean_opinion_score(jitter_ms: float, loss_percent: float) -> float:
    """Return the score of a stream, 1 to 5, as `quality` estimates it."""
    delay_ms = 2 * jitter_ms + 10
    rating = 93.2 - delay_ms / 40
    if delay_ms >= 160:
        rating -= 10
    rating = min(max(rating - 2.5 * loss_percent, 0.0), 100.0)
    score = 1 + 0.035 * rating + 7e-6 * rating * (rating - 60) * (100 - rating)
    return min(max(score, 1.0), 5.0)
