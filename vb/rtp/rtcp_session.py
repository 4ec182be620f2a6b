"""The RTCP of one leg: when to report, what to say, and what the peer's reports tell.

Spec: RFC 3550 §6.2 to §6.4.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, NamedTuple

from vb.ids import IdSource
from vb.rtp.rtcp import (
    Goodbye,
    Report,
    ReportBlock,
    RtcpPacket,
    SenderInfo,
    SourceDescription,
    build_rtcp,
    parse_rtcp,
)
from vb.rtp.stats import ReceptionSnapshot

INTERVAL_S: Final = 5.0
"""Mean time between reports; each wait is drawn from half to one and a half times this."""
_NTP_EPOCH_OFFSET_S = 2_208_988_800
"""Seconds from 1900, where NTP starts, to 1970."""
_MAX_CUMULATIVE_LOST = 0x7F_FFFF
_MIN_CUMULATIVE_LOST = -0x80_0000
_REMEMBERED_REPORTS = 16
_MAX_FRACTION = 255
_CLOCK_TOLERANCE_S = 0.05


class SentSnapshot(NamedTuple):
    """State of our outgoing stream at one moment.

    Attributes:
        packets: packets sent, modulo 2³² when reported.
        octets: bytes of payload sent.
        timestamp: RTP timestamp of this moment, whether or not a packet was sent now.
    """

    packets: int
    octets: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class PeerReport:
    """How our stream arrives, by the peer's last report.

    Attributes:
        fraction_lost: part of the packets lost between its last two reports, 0.0 to 1.0.
        cumulative_lost: packets lost in all.
        jitter: in units of our RTP clock.
        round_trip_s: time to the peer and back, None while unknown.
    """

    fraction_lost: float
    cumulative_lost: int
    jitter: int
    round_trip_s: float | None


class RtcpSession:
    """Sends and receives the reports of one RTP session with one peer.

    A goodbye from the network is counted and nothing else: anybody could send it, and the end of a call is
    said by its signalling.

    Args:
        ssrc: source of our stream.
        cname: our canonical name, the same for all streams of one leg.
        ids: source of the random part of the report interval.
        now: monotonic time.
    """

    def __init__(self, ssrc: int, cname: str, ids: IdSource, now: float) -> None:
        self.ssrc = ssrc
        self._cname = cname
        self._ids = ids
        self._last_sender_report: tuple[int, int, float] | None = None
        self._sent_reports: OrderedDict[int, float] = OrderedDict()
        self._counted: tuple[int, int, int] | None = None
        self._reported_packets = 0
        self.peer_report: PeerReport | None = None
        # The first report comes early, so that the peer soon knows our name.
        self.deadline = now + self._interval_s() / 2
        """When to send the next report."""

    def _interval_s(self) -> float:
        return INTERVAL_S * (0.5 + self._ids.u32() / 2**32)

    def report(
        self, now: float, wall_time_s: float, sent: SentSnapshot, received: ReceptionSnapshot | None
    ) -> bytes:
        """Return the compound packet that is due at the deadline, and sets the next one.

        Args:
            now: monotonic time.
            wall_time_s: seconds since 1970 at the same moment.
            sent: our stream at the same moment; a sender report goes out only when it moved since the last.
            received: the peer's stream, None before its first packet.
        """
        self.deadline = now + self._interval_s()
        return build_rtcp(self._compound(now, wall_time_s, sent, received))

    def goodbye(
        self, now: float, wall_time_s: float, sent: SentSnapshot, received: ReceptionSnapshot | None
    ) -> bytes:
        """Return the last compound packet of the session, which says that our source leaves."""
        return build_rtcp([*self._compound(now, wall_time_s, sent, received), Goodbye((self.ssrc,))])

    def _compound(
        self, now: float, wall_time_s: float, sent: SentSnapshot, received: ReceptionSnapshot | None
    ) -> list[RtcpPacket]:
        sender = None
        if sent.packets != self._reported_packets:
            self._reported_packets = sent.packets
            sender = self._sender_info(now, wall_time_s, sent)
        blocks = () if received is None else (self._block(received, now),)
        return [Report(self.ssrc, sender, blocks), SourceDescription(((self.ssrc, self._cname),))]

    def _sender_info(self, now: float, wall_time_s: float, sent: SentSnapshot) -> SenderInfo:
        ntp = int((wall_time_s + _NTP_EPOCH_OFFSET_S) * 2**32) & 0xFFFF_FFFF_FFFF_FFFF
        self._sent_reports[ntp >> 16 & 0xFFFF_FFFF] = now
        if len(self._sent_reports) > _REMEMBERED_REPORTS:
            self._sent_reports.popitem(last=False)
        return SenderInfo(
            ntp, sent.timestamp & 0xFFFF_FFFF, sent.packets & 0xFFFF_FFFF, sent.octets & 0xFFFF_FFFF
        )

    def _block(self, received: ReceptionSnapshot, now: float) -> ReportBlock:
        last_report = delay = 0
        if self._last_sender_report is not None and self._last_sender_report[0] == received.ssrc:
            _, last_report, arrived_at = self._last_sender_report
            delay = min(int((now - arrived_at) * 65536), 0xFFFF_FFFF)
        return ReportBlock(
            ssrc=received.ssrc,
            fraction_lost=self._fraction_lost(received),
            cumulative_lost=min(max(received.lost, _MIN_CUMULATIVE_LOST), _MAX_CUMULATIVE_LOST),
            highest_sequence=received.highest_sequence,
            jitter=min(int(received.jitter), 0xFFFF_FFFF),
            last_report=last_report,
            delay_since_last_report=delay,
        )

    def _fraction_lost(self, received: ReceptionSnapshot) -> int:
        """Return the loss since the last report in 1/256 (RFC 3550 A.3), from zero for a new source."""
        before = self._counted
        if before is None or before[0] != received.ssrc:
            before = (received.ssrc, 0, 0)
        self._counted = (received.ssrc, received.expected, received.received)
        expected = received.expected - before[1]
        lost = expected - (received.received - before[2])
        return 0 if expected <= 0 or lost <= 0 else min(256 * lost // expected, _MAX_FRACTION)

    def receive(self, datagram: bytes, now: float) -> None:
        """Take whatever arrived as RTCP; what is damaged is dropped, and so is what needs no answer."""
        for packet in parse_rtcp(datagram) or ():
            if isinstance(packet, Report):
                self._receive_report(packet, now)

    def _receive_report(self, report: Report, now: float) -> None:
        if report.sender is not None:
            self._last_sender_report = (report.ssrc, report.sender.ntp >> 16 & 0xFFFF_FFFF, now)
        for block in report.blocks:
            if block.ssrc == self.ssrc:
                previous = self.peer_report.round_trip_s if self.peer_report else None
                measured = self._round_trip_s(block, now)
                self.peer_report = PeerReport(
                    fraction_lost=block.fraction_lost / 256,
                    cumulative_lost=block.cumulative_lost,
                    jitter=block.jitter,
                    round_trip_s=previous if measured is None else measured,
                )

    def _round_trip_s(self, block: ReportBlock, now: float) -> float | None:
        """Return how long a report of ours and its echo were under way, or None for a false echo."""
        sent_at = self._sent_reports.get(block.last_report)
        if sent_at is None:
            return None
        round_trip_s = now - sent_at - block.delay_since_last_report / 65536
        # The peer rounds its delay and counts it by its own clock: a little below zero is zero.
        return max(round_trip_s, 0.0) if round_trip_s > -_CLOCK_TOLERANCE_S else None
