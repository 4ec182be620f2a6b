"""Figures that the plane hands out: of one leg, and of the plane itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from vb.rtp.rtcp_session import SentSnapshot
from vb.rtp.stats import ReceptionSnapshot


@dataclass(frozen=True, slots=True)
class PortStatistics:
    """State of one leg's streams at one moment.

    Attributes:
        reception: the incoming source by RFC 3550, None before its first packet.
        sent: our own stream.
        ssrc: our source.
        received_octets: payload bytes that came in.
        last_arrival_s: monotonic time of the last packet from the leg's source, or of its opening.
        jitter_ms: interarrival jitter.
        delay_ms: audio now waiting to be played.
        late: packets that came too late to be heard.
        discarded: frames given up because too much was waiting.
        duplicates: packets received twice.
        strays: packets far off in sequence or time.
        refused: packets from a source that is not the leg's.
        damaged: packets or payloads that could not be read.
        underruns: times that the delay had to grow.
        concealed: frames covered up for audio that did not come.
        shifts: frames inserted or dropped to follow the sender's clock.
    """

    reception: ReceptionSnapshot | None
    sent: SentSnapshot
    ssrc: int
    received_octets: int
    last_arrival_s: float
    jitter_ms: float
    delay_ms: float
    late: int
    discarded: int
    duplicates: int
    strays: int
    refused: int
    damaged: int
    underruns: int
    concealed: int
    shifts: int


@dataclass(slots=True)
class PlaneStatistics:
    """Totals since the plane was made.

    Attributes:
        ticks: ticks run.
        packets_in: datagrams taken from sockets.
        packets_out: RTP packets handed to sockets.
        rested: packets of silence that were not decoded.
        faults: legs, sources and taps taken out because they failed.
        dropped: datagrams not used, by reason.
    """

    ticks: int = 0
    packets_in: int = 0
    packets_out: int = 0
    rested: int = 0
    faults: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
