from __future__ import annotations

from collections.abc import Iterable

from bench.events import EventLog, is_event, lost_events, order_faults

EXPECTED = {"a": ("leg.ringing", "leg.disconnected")}


def log_of(events: Iterable[tuple[str, str, str]]) -> EventLog:
    log = EventLog()
    for event_id, kind, leg_id in events:
        log.take({"type": kind, "event_id": event_id, "leg_id": leg_id})
    return log


def whole_log() -> EventLog:
    return log_of([("1", "leg.ringing", "a"), ("2", "leg.disconnected", "a")])


def test_replies_and_pings_are_no_events() -> None:
    assert is_event({"type": "leg.ringing", "event_id": "1"})
    assert not is_event({"type": "ping", "event_id": 1, "seq": 1})
    assert not is_event({"type": "answer_leg.result", "data": {}})


def test_clients_that_were_told_everything_have_no_fault() -> None:
    logs = [whole_log(), whole_log()]
    assert order_faults(logs, EXPECTED) == []
    assert lost_events(logs, EXPECTED) == 0


def test_an_event_that_one_client_misses_is_lost() -> None:
    logs = [whole_log(), log_of([("1", "leg.ringing", "a")])]
    assert lost_events(logs, EXPECTED) == 1
    assert any(fault.startswith("client 1, leg a") for fault in order_faults(logs, EXPECTED))


def test_an_event_that_all_clients_miss_is_lost_by_each() -> None:
    logs = [log_of([("1", "leg.ringing", "a")]) for _ in range(2)]
    assert lost_events(logs, EXPECTED) == 2


def test_events_of_a_leg_in_another_order_are_a_fault() -> None:
    log = log_of([("2", "leg.disconnected", "a"), ("1", "leg.ringing", "a")])
    assert lost_events([log], EXPECTED) == 0
    assert order_faults([log], EXPECTED) == ["client 0, leg a: leg.disconnected leg.ringing"]


def test_another_order_than_the_first_clients_is_a_fault() -> None:
    first = log_of([("1", "leg.ringing", "a"), ("2", "leg.ringing", "b")])
    other = log_of([("2", "leg.ringing", "b"), ("1", "leg.ringing", "a")])
    faults = order_faults([first, other], {"a": ("leg.ringing",), "b": ("leg.ringing",)})
    assert faults == ["client 1 was told otherwise than client 0 (another order)"]


def test_an_event_that_comes_twice_is_a_fault() -> None:
    log = log_of([("1", "leg.ringing", "a"), ("1", "leg.ringing", "a"), ("2", "leg.disconnected", "a")])
    assert "client 0: 1 events came twice" in order_faults([log], EXPECTED)


def test_what_the_server_says_it_dropped_is_lost() -> None:
    log = whole_log()
    log.take({"type": "events_dropped", "count": 4})
    assert lost_events([log], EXPECTED) == 4
    assert "client 0: 4 events dropped" in order_faults([log], EXPECTED)


def test_a_leg_that_nobody_knows_is_a_fault() -> None:
    assert order_faults([whole_log()], {}) == ["client 0: events of 1 legs that nobody knows"]
