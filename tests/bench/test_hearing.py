from __future__ import annotations

import numpy as np
import pytest

from bench.codecs import FORMATS, Samples, Speaker, decode, encode, payloads_of
from bench.generator import Heard
from bench.hearing import TORN, check_hearing, levels_of, skirt_of
from bench.tones import LEAKED, tone_frequencies

TALKER, LISTENER = Speaker("G722", 40), Speaker("G722", 40, "silence")
STEP = TALKER.clock_step


def heard(frequency: int, amplitude: float, *, missing: int | None = None) -> Heard:
    payloads = [payload for payload in payloads_of(TALKER, frequency, amplitude) * 2 if payload is not None]
    stamps = (np.arange(len(payloads)) * STEP).astype(np.uint32)
    kept = [place for place in range(len(payloads)) if place != missing]
    return Heard(stamps[kept], [payloads[place] for place in kept])


def faults(*listeners: Heard) -> tuple[str, ...]:
    speakers = [TALKER, *[LISTENER] * (len(listeners) - 1)]
    return check_hearing(listeners, speakers, np.zeros(len(listeners), np.int64), 4000.0).wrong


def test_a_listener_that_hears_the_talker_is_right() -> None:
    tone = int(tone_frequencies(2)[0])
    assert faults(heard(0, 0.0), heard(tone, 4000.0)) == ()


def test_a_listener_that_hears_nobody_is_told_of() -> None:
    assert faults(heard(0, 0.0), heard(0, 0.0)) == ("listener 1: misses [0], hears []",)


def test_a_talker_that_hears_itself_is_told_of() -> None:
    tone = int(tone_frequencies(2)[0])
    assert faults(heard(tone, 4000.0), heard(tone, 4000.0)) == ("listener 0: misses [], hears [0]",)


def test_a_seam_in_the_last_second_is_no_fault_where_the_second_before_is_right() -> None:
    tone = int(tone_frequencies(2)[0])
    right, seam = heard(tone, 4000.0), heard(tone, 4000.0)
    late = (right.stamps[-1] + STEP + seam.stamps).astype(np.uint32)
    torn = [seam.payloads[(place * 7) % 25] for place in range(len(seam.payloads))]
    assert faults(heard(0, 0.0), Heard(late, torn))
    both = Heard(np.concatenate((right.stamps, late)), right.payloads + torn)
    assert faults(heard(0, 0.0), both) == ()
    gap = Heard(np.concatenate((right.stamps, late[3:])), right.payloads + torn[3:])
    assert faults(heard(0, 0.0), gap) == ()


def test_a_stranger_in_every_second_is_told_of() -> None:
    tone = int(tone_frequencies(2)[0])
    once = heard(tone, 4000.0)
    stamps = (np.arange(3 * len(once.stamps)) * STEP).astype(np.uint32)
    assert faults(Heard(stamps, once.payloads * 3), once) == ("listener 0: misses [], hears [0]",)


def test_packets_missing_everywhere_are_told_of() -> None:
    tone = int(tone_frequencies(2)[0])
    (fault,) = faults(heard(0, 0.0), heard(tone, 4000.0, missing=25))
    assert fault == "listener 1, G722: no unbroken second of audio"


PAIRS = tone_frequencies(100)
MATE, NEIGHBOUR = 20, 73
"""Talkers whose tones lie beside each other."""
RATE_HZ = 8000


def tone(talker: int, seconds: float, amplitude: float = 4000.0, *, seams: tuple[float, ...] = ()) -> Samples:
    """A talker's tone, which is held up for 13 ms at each seam."""
    clock = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    played = clock - 0.013 * np.searchsorted(np.array(seams), clock)
    samples: Samples = np.rint(amplitude * np.cos(2 * np.pi * PAIRS[talker] * played)).astype(np.int16)
    return samples


def skirt(second: Samples, mate: int = int(PAIRS[MATE])) -> float:
    """Level of a mate's skirts, as a share of its own."""
    return skirt_of(second, np.array([mate]), PAIRS) / 4000


def phone_hears(samples: Samples) -> tuple[str, ...]:
    """What is wrong with the listener whose mate is `MATE`, when it hears this."""
    payloads = encode("PCMU", samples, 20)
    heard_by = Heard((np.arange(len(payloads)) * 160).astype(np.uint32), payloads)
    nothing = Heard(np.empty(0, np.uint32), [])
    listener = MATE + 1
    heard_by_all = [heard_by if number == listener else nothing for number in range(PAIRS.size)]
    speakers = [Speaker("PCMU")] * PAIRS.size
    wrong = check_hearing(heard_by_all, speakers, np.arange(PAIRS.size) // 2, 4000.0).wrong
    return tuple(fault for fault in wrong if fault.startswith(f"listener {listener}"))


_SECOND = np.sort(np.random.default_rng(32).uniform(0, 1, 18))
SEAMS = tuple(float(second + at) for second in range(4) for at in _SECOND)


def test_seams_look_like_the_talker_beside_the_mate_and_are_told_from_it() -> None:
    assert abs(int(PAIRS[MATE] - PAIRS[NEIGHBOUR])) == 28
    seconds = tone(MATE, 4.0, seams=SEAMS).reshape(4, -1)
    assert all(levels_of(second, PAIRS[[NEIGHBOUR]])[0] > LEAKED * 4000 for second in seconds)
    assert all(skirt(second) > TORN for second in seconds)
    (fault,) = phone_hears(tone(MATE, 4.0, seams=SEAMS))
    assert str(NEIGHBOUR) not in fault
    assert phone_hears(np.concatenate((tone(MATE, 2.0), tone(MATE, 2.0, seams=SEAMS)))) == ()


def test_a_stranger_beside_the_mate_is_told_of_however_right_other_seconds_are() -> None:
    mixed = tone(MATE, 2.0) + tone(NEIGHBOUR, 2.0, 1.5 * LEAKED * 4000)
    assert skirt(mixed[:RATE_HZ]) < TORN
    for heard_all in ((mixed, tone(MATE, 2.0)), (tone(MATE, 2.0), mixed)):
        (fault,) = phone_hears(np.concatenate(heard_all))
        assert f"hears [{NEIGHBOUR}]" in fault


@pytest.mark.parametrize("replaced_ms", [60, 100, 200, 400])
@pytest.mark.parametrize("stranger", [NEIGHBOUR, 3, 44, 90])
def test_a_stranger_in_the_place_of_the_mate_is_told_of(replaced_ms: int, stranger: int) -> None:
    samples = tone(MATE, 4.0)
    for at_ms in (1480, 1970, 2500):
        heard_now = samples.copy()
        place = slice(at_ms * RATE_HZ // 1000, (at_ms + replaced_ms) * RATE_HZ // 1000)
        heard_now[place] = tone(stranger, 4.0)[place]
        assert skirt(heard_now[at_ms * 8 - 4000 :][:RATE_HZ]) > TORN
        (fault,) = phone_hears(heard_now)
        assert f"{stranger}" in fault.partition("hears")[2]


def test_seams_excuse_nothing_where_tones_lie_too_close_to_see_them() -> None:
    torn = tone(MATE, 1.0, seams=SEAMS)
    close = np.arange(PAIRS[MATE] - 100, PAIRS[MATE] + 100, 2)
    assert skirt_of(torn, PAIRS[[MATE]], close) == 0
    assert skirt_of(torn, PAIRS[[MATE]], close[::4]) > 0
    assert skirt_of(torn, PAIRS[[]], PAIRS) == 0


def test_a_whole_tone_is_not_torn_by_any_codec() -> None:
    for codec in ("PCMU", "G722", "opus"):
        heard_in = [
            payload for payload in payloads_of(Speaker(codec), 1431, 4000.0) * 2 if payload is not None
        ]
        second = decode(codec, heard_in)[-FORMATS[codec].rate_hz :]
        assert skirt(second, 1431) < TORN
