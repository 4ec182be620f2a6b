import numpy as np

from vb.codecs.pcm import FadingConcealer


def test_gap_before_any_audio_is_silence() -> None:
    assert not FadingConcealer(8000).conceal(160).any()


def test_gap_begins_with_the_last_audio_without_a_step() -> None:
    concealer = FadingConcealer(8000)
    ramp = np.arange(160, dtype=np.int16) * 50
    concealer.remember(ramp)
    assert abs(int(concealer.conceal(160)[0]) - int(ramp[-1])) < 50


def test_gap_fades_to_silence_within_60_ms() -> None:
    concealer = FadingConcealer(8000)
    concealer.remember(np.full(160, 10_000, np.int16))
    gap = np.concatenate([concealer.conceal(160) for _ in range(4)]).astype(int)
    assert (np.diff(gap) <= 0).all()
    assert gap[0] > 9_900
    assert gap[239] > 4_000
    assert not gap[479:].any()


def test_audio_ends_the_gap() -> None:
    concealer = FadingConcealer(8000)
    loud = np.full(160, 10_000, np.int16)
    concealer.remember(loud)
    concealer.conceal(480)
    concealer.remember(loud)
    assert concealer.conceal(160)[0] > 9_900


def test_empty_payload_does_not_end_the_gap() -> None:
    concealer = FadingConcealer(8000)
    concealer.remember(np.full(160, 10_000, np.int16))
    concealer.conceal(480)
    concealer.remember(np.zeros(0, np.int16))
    assert not concealer.conceal(160).any()


def test_gap_longer_than_the_fade_is_filled_in_one_call() -> None:
    concealer = FadingConcealer(8000)
    concealer.remember(np.full(160, 10_000, np.int16))
    gap = concealer.conceal(960)
    assert gap.size == 960
    assert not gap[480:].any()
