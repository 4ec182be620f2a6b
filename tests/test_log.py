"""Log lines: what strangers can write into a log."""

from __future__ import annotations

import structlog.testing

from vb.log import STRANGERS_LINES_PER_S, StrangersLog


def test_strangers_write_so_many_lines_a_second_and_the_next_tells_of_the_rest() -> None:
    now = 100.0
    log = StrangersLog("test", clock=lambda: now)
    with structlog.testing.capture_logs() as lines:
        for number in range(1000):
            log.warning("call refused", number=number)
    assert [line["number"] for line in lines] == list(range(STRANGERS_LINES_PER_S))
    now += 1.0
    with structlog.testing.capture_logs() as lines:
        log.warning("call refused")
        log.info("call refused")
    assert [line.get("left_out") for line in lines] == [1000 - STRANGERS_LINES_PER_S, None]


def test_a_flood_of_one_event_takes_no_room_from_another() -> None:
    log = StrangersLog("test", clock=lambda: 0.0)
    with structlog.testing.capture_logs() as lines:
        for _ in range(100):
            log.warning("call refused")
        log.info("peer_vanished", peer="192.0.2.1")
    assert lines[-1] == {"event": "peer_vanished", "peer": "192.0.2.1", "log_level": "info"}
