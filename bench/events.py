"""What VSI clients were told: per leg the exact order of events, the same for every client."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

SHOWN: Final = 5

Message = Mapping[str, object]


def is_event(message: Message) -> bool:
    """Tell an event from replies, pings and notices of the connection."""
    return isinstance(message.get("event_id"), str)


class EventLog:
    """Everything that one client was told.

    Attributes:
        ids: of all events in the order of their arrival.
        by_leg: types of the events of each leg in their order.
        counts: of messages by type.
        dropped: events that the server says this client missed.
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.by_leg: dict[str, list[str]] = {}
        self.counts: Counter[str] = Counter()
        self.dropped = 0

    def take(self, message: Message) -> None:
        """Note a message."""
        kind = str(message.get("type"))
        self.counts[kind] += 1
        if kind == "events_dropped":
            self.dropped += int(str(message["count"]))
        if not is_event(message):
            return
        self.ids.append(str(message["event_id"]))
        if "leg_id" in message:
            self.by_leg.setdefault(str(message["leg_id"]), []).append(kind)


def lost_events(logs: Sequence[EventLog], expected: Mapping[str, Sequence[str]]) -> int:
    """Return how many events all clients together missed: of what each leg must tell, and of what others got.

    Args:
        logs: one for each client, all of which were there from the start.
        expected: types of the events that each leg must tell.
    """
    known = set().union(*(log.ids for log in logs))
    lost = 0
    for log in logs:
        of_legs = sum(
            (Counter(kinds) - Counter(log.by_leg.get(leg_id, ()))).total()
            for leg_id, kinds in expected.items()
        )
        lost += max(of_legs, len(known) - len(set(log.ids)), log.dropped)
    return lost


def order_faults(logs: Sequence[EventLog], expected: Mapping[str, Sequence[str]]) -> list[str]:
    """Return every way in which a client was told otherwise than it must be.

    Args:
        logs: one for each client.
        expected: types of the events that each leg must tell, in their order.
    """
    faults = []
    for number, log in enumerate(logs):
        if log.dropped:
            faults.append(f"client {number}: {log.dropped} events dropped")
        if len(set(log.ids)) != len(log.ids):
            faults.append(f"client {number}: {len(log.ids) - len(set(log.ids))} events came twice")
        strangers = log.by_leg.keys() - expected.keys()
        if strangers:
            faults.append(f"client {number}: events of {len(strangers)} legs that nobody knows")
        if number and log.ids != logs[0].ids:
            faults.append(f"client {number} was told otherwise than client 0 ({_difference(logs[0], log)})")
        wrong = [
            f"client {number}, leg {leg_id}: {' '.join(log.by_leg.get(leg_id, ['nothing']))}"
            for leg_id, kinds in expected.items()
            if log.by_leg.get(leg_id) != list(kinds)
        ]
        faults += wrong[:SHOWN]
        if len(wrong) > SHOWN:
            faults.append(f"client {number}: … and {len(wrong) - SHOWN} more legs out of order")
    return faults


def _difference(first: EventLog, other: EventLog) -> str:
    missing, added = len(set(first.ids) - set(other.ids)), len(set(other.ids) - set(first.ids))
    return f"{missing} missing, {added} more" if missing or added else "another order"
