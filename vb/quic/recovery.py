"""Loss recovery that is quick to find that nothing was lost.

Spec: RFC 9002.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.quic.recovery import QuicPacketRecovery, QuicPacketSpace


class Recovery(QuicPacketRecovery):
    """That of one connection.

    Attributes:
        has_lost: whether something was lost since this was last set to False.
    """

    def __init__(self, **of_aioquic: Any) -> None:
        super().__init__(**of_aioquic)
        self.has_lost = False

    def _detect_loss(self, *, now: float, space: QuicPacketSpace) -> None:
        oldest = next(iter(space.sent_packets), space.largest_acked_packet)
        if oldest < space.largest_acked_packet:
            super()._detect_loss(now=now, space=space)
        else:  # all that was sent before has been acknowledged
            space.loss_time = None

    def _on_packets_lost(self, *, packets: Iterable[QuicSentPacket], **named: Any) -> None:
        packets = tuple(packets)
        if packets:
            self.has_lost = True
            super()._on_packets_lost(packets=packets, **named)
