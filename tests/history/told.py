"""A collector that tests tell of events."""

from __future__ import annotations

import uuid
from typing import Any

from vb.events.base import Event, Published
from vb.events.leg import Cdr, LegDisconnected, QualityInfo
from vb.history.change import Change
from vb.history.collector import Collector

LEG = str(uuid.UUID(int=7, version=4))
MATE = str(uuid.UUID(int=8, version=4))


class Told:
    """A collector that is told of events, one a second."""

    def __init__(self, **settings: Any) -> None:
        self.collector = Collector("edge-1", **settings)
        self.second = 0

    def __call__(self, event: Event) -> bool:
        self.second += 1
        stamp = f"2026-11-29T08:{self.second // 60:02d}:{self.second % 60:02d}.5Z"
        return self.collector.observe(Published(event, str(uuid.uuid4()), stamp, "edge-1"))

    def one(self) -> Change:
        (change,) = self.collector.take()
        return change


def ended(leg_id: str = LEG, reason: str = "remote_bye") -> LegDisconnected:
    quality = QualityInfo(mos_score=4.4, rtp_packets_received=9, rtp_packets_lost=0, rtp_jitter_ms=0.5)
    cdr = Cdr(reason=reason, duration_total=3, duration_answered=2)
    return LegDisconnected(leg_id=leg_id, cdr=cdr, quality=quality)
