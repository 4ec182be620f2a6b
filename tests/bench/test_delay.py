from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.delay import Arrivals, Burst, is_unbroken, read_bursts
from bench.tones import FRAME, RATE_HZ, encode_ulaw

FREQUENCY = 997
AMPLITUDE = 8000.0
BURST_MS = 200
FRAME_NS = 20_000_000


def tone(samples: int) -> NDArray[np.float64]:
    return AMPLITUDE * np.cos(2 * np.pi * FREQUENCY * np.arange(samples) / RATE_HZ)


def heard(signal: NDArray[np.float64], first_ns: int = 1_000_000_000) -> Arrivals:
    payloads = encode_ulaw(signal).reshape(-1, FRAME)
    count = len(payloads)
    return Arrivals(
        first_ns + np.arange(count, dtype=np.int64) * FRAME_NS,
        (np.arange(count) * FRAME).astype(np.uint32),
        payloads,
    )


def burst_after(silent_samples: int) -> NDArray[np.float64]:
    signal = np.zeros(FRAME * 30)
    voiced = tone(RATE_HZ * BURST_MS // 1000)
    signal[silent_samples : silent_samples + len(voiced)] = voiced
    return signal


def read(arrivals: Arrivals, sent_ns: int) -> Burst:
    (burst,) = read_bursts(
        arrivals,
        np.array([sent_ns], np.int64),
        frequency=FREQUENCY,
        amplitude=AMPLITUDE,
        burst_ms=BURST_MS,
    )
    return burst


@pytest.mark.parametrize("silent_samples", [5 * FRAME, 5 * FRAME + 73])
def test_the_delay_runs_from_the_send_to_the_first_voiced_packet(silent_samples: int) -> None:
    arrivals = heard(burst_after(silent_samples))
    sent_ns = 1_000_000_000 + 4 * FRAME_NS
    assert read(arrivals, sent_ns) == Burst(delay_ms=20.0, unbroken=True)


def test_a_burst_that_never_comes_has_no_delay() -> None:
    arrivals = heard(np.zeros(FRAME * 30))
    assert read(arrivals, 1_000_000_000) == Burst(delay_ms=None, unbroken=False)


def test_a_burst_is_not_taken_for_an_earlier_one() -> None:
    arrivals = heard(burst_after(20 * FRAME))
    assert read(arrivals, 1_000_000_000 + FRAME_NS) == Burst(delay_ms=None, unbroken=False)


def test_a_hole_breaks_a_burst() -> None:
    signal = burst_after(5 * FRAME)
    signal[9 * FRAME : 10 * FRAME] = 0
    assert not read(heard(signal), 1_000_000_000 + 4 * FRAME_NS).unbroken


def test_a_packet_that_never_came_breaks_a_burst() -> None:
    whole = heard(burst_after(5 * FRAME))
    keep = np.arange(30) != 9
    arrivals = Arrivals(whole.arrival_ns[keep], whole.stamps[keep], whole.payloads[keep])
    assert not read(arrivals, 1_000_000_000 + 4 * FRAME_NS).unbroken


def test_a_repeated_frame_breaks_a_tone() -> None:
    signal = tone(FRAME * 10)
    assert is_unbroken(signal.astype(np.int16), FREQUENCY, AMPLITUDE)
    signal[5 * FRAME :] = signal[4 * FRAME : 9 * FRAME].copy()
    assert not is_unbroken(signal.astype(np.int16), FREQUENCY, AMPLITUDE)


def test_a_fade_breaks_a_tone() -> None:
    signal = tone(FRAME * 10)
    signal[5 * FRAME : 6 * FRAME] *= np.linspace(1, 0, FRAME)
    assert not is_unbroken(signal.astype(np.int16), FREQUENCY, AMPLITUDE)
