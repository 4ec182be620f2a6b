"""How the stream of a leg arrives at one moment, on both ends, as far as RTCP tells."""

from __future__ import annotations

from dataclasses import dataclass

from vb.mixer.port import RtpPort


@dataclass(frozen=True, slots=True)
class Link:
    """What is known of the way to the far end.

    Attributes:
        ssrc: the far end's source; another one counts from zero.
        received: packets that came.
        expected: packets that the source has sent.
        jitter_ms: of what comes.
        round_trip_ms: there and back; None while the far end's reports do not tell.
        far_lost_percent: of what we send, between its last two reports; None without any.
    """

    ssrc: int
    received: int
    expected: int
    jitter_ms: float
    round_trip_ms: float | None
    far_lost_percent: float | None


def link_of(port: RtpPort) -> Link | None:
    """Return the figures of a port; None before the first packet and once it is closed."""
    reception = None if port.closed else port.reception()
    if reception is None:
        return None
    report = port.peer_report
    trip_s = report.round_trip_s if report is not None else None
    return Link(
        ssrc=reception.ssrc,
        received=reception.received,
        expected=reception.expected,
        jitter_ms=1000 * reception.jitter / reception.clock_rate_hz,
        round_trip_ms=None if trip_s is None else 1000 * trip_s,
        far_lost_percent=None if report is None else 100 * report.fraction_lost,
    )
