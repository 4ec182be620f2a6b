"""The fuzzer's judge: which dents of a tone have an excuse, and that all others are violations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from conformance.peers.rtp_peer import Late, Packet
from fuzz.hearing import GIVEN_BACK, LATE, LEVEL_DB, PAUSE, PUT_IN, Heard
from tests.mixer.support import to_alaw, to_ulaw

HZ = 1570
OWN_HZ = 1130
FRAME = 160
RATE_HZ = 8000
HELD_UP_S = 0.061
START = 1000.0
AMPLITUDE = 32768 * 10 ** (LEVEL_DB / 20) * 2**0.5
ADDRESS = ("192.0.2.1", 4000)
Samples = NDArray[np.float64]


def wave(seconds: float, *, hz: float = HZ, start: int = 0) -> Samples:
    samples: Samples = AMPLITUDE * np.sin(2 * np.pi * hz * (start + np.arange(seconds * RATE_HZ)) / RATE_HZ)
    return samples


def packets_of(samples: Samples, *, codec: str = "PCMU") -> list[Packet]:
    pcm = np.round(samples[: samples.size // FRAME * FRAME]).astype(np.int16)
    payload, payload_type = (to_ulaw(pcm), 0) if codec == "PCMU" else (to_alaw(pcm), 8)
    return [
        Packet(
            START + number * 0.02,
            ADDRESS,
            False,
            payload_type,
            number,
            number * FRAME,
            7,
            payload[number * FRAME : (number + 1) * FRAME],
        )
        for number in range(pcm.size // FRAME)
    ]


def held_up(seconds_before: float, by_s: float = HELD_UP_S) -> list[Late]:
    """Say that the partner's sending was held up so long before the stream."""
    return [Late(START - seconds_before + 0.02 * k, by_s - 0.02 * k) for k in range(4) if by_s > 0.02 * k]


def hear(samples: Samples, late: list[Late] | None = None, *, codec: str = "PCMU", hz: int = HZ) -> Heard:
    return Heard.of(
        packets_of(samples, codec=codec), held_up(5.0) if late is None else late, codec, hz, OWN_HZ
    )


def shifted(samples: Samples, at: int, frames: int = 1, *, faded: bool = True) -> Samples:
    """Leave out `frames` at a sample, or repeat them where negative, as playout does it."""
    fade = samples[at : at + FRAME].copy()
    move = frames * FRAME
    other = samples[at + move : at + move + FRAME]
    ramp = np.arange(1, FRAME + 1) / FRAME if faded else 1.0
    return np.concatenate([samples[:at], fade * (1 - ramp) + other * ramp, samples[at + move + FRAME :]])


def excuses(heard: Heard) -> list[str | None]:
    return [dent.excuse for dent in heard.dents]


def test_a_steady_tone_has_no_dents() -> None:
    heard = hear(wave(10))
    assert heard.dents == ()
    assert abs(heard.worst_level_db) < 0.2
    assert heard.own_db < -45


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
@pytest.mark.parametrize("hz", [410, 690, 1130, 1570])
@pytest.mark.parametrize("frames", [1, -1])
@pytest.mark.parametrize("at", range(24000, 24160, 33))
def test_a_frame_given_back_or_put_in_is_excused_wherever_it_lies(
    at: int, frames: int, hz: int, codec: str
) -> None:
    heard = Heard.of(
        packets_of(shifted(wave(8, hz=hz), at, frames), codec=codec), held_up(1.0), codec, hz, OWN_HZ
    )
    assert excuses(heard) == [GIVEN_BACK if frames > 0 else PUT_IN]


def gap(samples: Samples, at: int, length: int) -> Samples:
    samples = samples.copy()
    samples[at : at + length] = 0
    return samples


def fading_repeat(samples: Samples, at: int, frames: int) -> Samples:
    """Lose some frames, which are covered up with the one before."""
    samples = samples.copy()
    cover = np.tile(samples[at - FRAME : at], frames) * np.linspace(1, 1 - frames / 3, frames * FRAME)
    samples[at : at + frames * FRAME] = cover
    return samples


def level_down(samples: Samples, at: int, length: int) -> Samples:
    samples = samples.copy()
    samples[at : at + length] *= 10 ** (-6 / 20)
    return samples


def other_tone(samples: Samples, at: int, length: int) -> Samples:
    samples = samples.copy()
    samples[at : at + length] = wave(length / RATE_HZ, hz=HZ + 200, start=at)
    return samples


FAULTS: dict[str, Callable[[Samples, int], Samples]] = {
    "20 ms of silence": lambda samples, at: gap(samples, at, FRAME),
    "60 ms of silence": lambda samples, at: gap(samples, at, 3 * FRAME),
    "silence for ever": lambda samples, at: gap(samples, at, samples.size),
    "a frame lost and covered up": lambda samples, at: fading_repeat(samples, at, 1),
    "three frames lost and covered up": lambda samples, at: fading_repeat(samples, at, 3),
    "a frame missing, not faded": lambda samples, at: shifted(samples, at, 1, faded=False),
    "two frames missing": lambda samples, at: shifted(samples, at, 2),
    "half a frame missing": lambda samples, at: np.concatenate(
        [samples[:at], samples[at + FRAME // 4 * 3 :]]
    ),
    "too low for 60 ms": lambda samples, at: level_down(samples, at, 3 * FRAME),
    "too low for ever": lambda samples, at: level_down(samples, at, samples.size),
    "too loud for 60 ms": lambda samples, at: 2 * samples - level_down(samples, at, 3 * FRAME),
    "another tone for 60 ms": lambda samples, at: other_tone(samples, at, 3 * FRAME),
    "another tone beside a shift": lambda samples, at: other_tone(shifted(samples, at), at + FRAME, FRAME),
    "silence beside a shift": lambda samples, at: gap(shifted(samples, at), at + FRAME, FRAME),
    "two shifts at once": lambda samples, at: shifted(shifted(samples, at), at + 2 * FRAME),
    "two shifts within a second": lambda samples, at: shifted(shifted(samples, at), at + 40 * FRAME),
    "two shifts within five seconds": lambda samples, at: shifted(shifted(samples, at), at + 240 * FRAME),
}


@pytest.mark.parametrize("at", [24000, 24040, 24080, 24133])
@pytest.mark.parametrize("name", FAULTS)
def test_every_real_dent_stays_a_violation_after_a_hold_up(name: str, at: int) -> None:
    heard = hear(FAULTS[name](wave(10), at))
    assert heard.broken, name
    assert heard.count(GIVEN_BACK) == name.startswith("two shifts within")


def test_shifts_more_than_five_seconds_apart_are_excused() -> None:
    assert excuses(hear(shifted(shifted(wave(10), 12000), 12000 + 255 * FRAME))) == [GIVEN_BACK, GIVEN_BACK]


@pytest.mark.parametrize(
    ("frames", "between", "last"),
    [
        (-1, [], None),
        (-1, [Late(START + 4.0, 0.010)], PUT_IN),
        (-1, [Late(START + 4.0, 0.003)], None),
        (1, [Late(START + 4.0, 0.010)], None),
    ],
)
def test_only_a_frame_put_in_may_follow_soon_and_only_when_packets_came_late_anew(
    frames: int, between: list[Late], last: str | None
) -> None:
    late = [*held_up(0.5), *between]
    assert excuses(hear(shifted(shifted(wave(8), 24000), 24000 + 100 * FRAME, frames), late)) == [
        GIVEN_BACK,
        last,
    ]


@pytest.mark.parametrize(("seconds_before", "excused"), [(1.9, PUT_IN), (2.1, None)])
def test_a_frame_is_put_in_soon_after_a_late_packet(seconds_before: float, excused: str | None) -> None:
    assert excuses(hear(shifted(wave(8), 24000, -1), held_up(seconds_before, 0.015))) == [excused]


@pytest.mark.parametrize(
    ("late", "excused"),
    [
        ([], False),
        (held_up(14.0, 0.015), True),
        (held_up(17.0, 0.015), False),
        (held_up(50.0, 0.061), True),
        (held_up(60.0, 0.061), False),
        ([Late(START + 4.0, 0.1)], False),
    ],
)
def test_a_shift_is_excused_while_playout_may_have_a_frame_to_give_back(
    late: list[Late], excused: bool
) -> None:
    assert excuses(hear(shifted(wave(8), 24000), late)) == [GIVEN_BACK if excused else None]


@pytest.mark.parametrize(
    ("late", "length", "excused"),
    [
        ([Late(START + 3.02, 0.015)], FRAME, True),
        ([Late(START + 3.06, 0.055)], 3 * FRAME, True),
        ([Late(START + 3.02, 0.015)], 4 * FRAME, False),
        ([Late(START + 3.02, 0.003)], FRAME, False),
        ([Late(START + 3.50, 0.015)], FRAME, False),
        ([Late(START + 2.50, 0.015)], FRAME, False),
        ([Late(START + 1.00, 0.015), Late(START + 3.02, 0.015)], FRAME, False),
        ([Late(START + 1.00, 0.005), Late(START + 3.02, 0.015)], FRAME, True),
        ([Late(START + 1.00, 0.24), Late(START + 3.04, 0.035)], FRAME, False),
        ([Late(START + 1.00, 0.30), Late(START + 3.04, 0.035)], FRAME, True),
    ],
)
def test_a_gap_is_excused_beside_a_packet_that_was_later_than_those_before_it(
    late: list[Late], length: int, excused: bool
) -> None:
    assert excuses(hear(gap(wave(8), 24000, length), late)) == [LATE if excused else None]


def leap(packets: list[Packet], at: int, frames: int) -> list[Packet]:
    """Leave out so many frames, as the timestamps tell."""
    return [replace(p, timestamp=p.timestamp + (frames * FRAME if p.sequence >= at else 0)) for p in packets]


@pytest.mark.parametrize(("frames", "told", "excused"), [(3, 3, True), (1, 1, True), (3, 0, False)])
def test_ticks_that_were_left_out_are_excused_where_the_timestamps_tell(
    frames: int, told: int, excused: bool
) -> None:
    packets = packets_of(np.concatenate([wave(3), wave(5, start=24000 + frames * FRAME)]))
    heard = Heard.of(leap(packets, 150, told), [], "PCMU", HZ, OWN_HZ)
    assert excuses(heard) == [PAUSE if excused else None]
    assert heard.left_out == told


@pytest.mark.parametrize("length", [FRAME, 8 * FRAME])
def test_silence_away_from_ticks_that_were_left_out_or_longer_is_a_violation(length: int) -> None:
    at = 30400 if length == FRAME else 24000
    packets = packets_of(gap(np.concatenate([wave(3), wave(5, start=24160)]), at, length))
    assert Heard.of(leap(packets, 150, 1), [], "PCMU", HZ, OWN_HZ).broken


def test_who_hears_nothing_at_all_hears_a_broken_tone() -> None:
    assert Heard.of([], [], "PCMU", HZ, OWN_HZ).broken
