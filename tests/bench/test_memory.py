from __future__ import annotations

from dataclasses import replace

from bench.memory import differences
from bench.outcome import Standing

IDLE = Standing(
    tasks=23,
    open_files=14,
    port_pairs=10_000,
    media_ports=0,
    dialogs=0,
    transactions=0,
    legs=0,
    rooms=0,
    rss_kb=118_000.0,
)


def test_memory_alone_is_no_difference() -> None:
    assert differences(IDLE, replace(IDLE, rss_kb=150_000.0)) == {}


def test_whatever_is_left_over_is_named() -> None:
    after = replace(IDLE, tasks=24, port_pairs=9_999)
    assert differences(IDLE, after) == {"tasks": (23, 24), "port_pairs": (10_000, 9_999)}


def test_what_is_gone_is_a_difference_too() -> None:
    assert differences(IDLE, replace(IDLE, open_files=13)) == {"open_files": (14, 13)}
