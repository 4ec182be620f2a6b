from __future__ import annotations

import math

from bench.host import parse_cpu_s
from bench.server import late_percent, parse_metrics, tick_lateness

METRICS = """# HELP voiceblender_ticks Ticks of the media plane
# TYPE voiceblender_ticks gauge
voiceblender_ticks 1500.0
voiceblender_ticks_late 3.0
voiceblender_tick_lateness_seconds{quantile="0.5"} 0.0005
voiceblender_tick_lateness_seconds{quantile="0.99"} 0.002
voiceblender_tick_lateness_seconds{quantile="1"} 1.5e-02
"""


def test_samples_are_read_with_their_labels() -> None:
    metrics = parse_metrics(METRICS)
    assert metrics["voiceblender_ticks"] == 1500
    assert metrics['voiceblender_tick_lateness_seconds{quantile="1"}'] == 0.015


def test_tick_lateness_is_read_in_milliseconds() -> None:
    lateness = tick_lateness(parse_metrics(METRICS))
    assert lateness is not None
    assert (lateness.p50_ms, lateness.p99_ms, lateness.max_ms) == (0.5, 2.0, 15.0)
    assert math.isnan(lateness.p95_ms)


def test_a_server_that_does_not_tell_has_no_lateness() -> None:
    assert tick_lateness({"voiceblender_ticks": 5}) is None
    assert late_percent({}, {"voiceblender_ticks": 5}) is None


def test_late_ticks_are_a_share_of_the_ticks_between_two_readings() -> None:
    before = parse_metrics(METRICS)
    after = {**before, "voiceblender_ticks": 2000.0, "voiceblender_ticks_late": 8.0}
    assert late_percent(before, after) == 1.0


def test_cpu_time_is_user_and_system_time_whatever_the_program_is_called() -> None:
    stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 7 7 20 0 3 0 1234 0 0"
    assert parse_cpu_s(stat, 100) == 2.0
