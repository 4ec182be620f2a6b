import numpy as np
import pytest

from tests.media.support import peaks_hz, spectrum
from vb.codecs.pcm import Pcm
from vb.media.errors import UnknownTone
from vb.media.tones import PEAK_AMPLITUDE, TONES, ToneSource, ToneSpec, parse_tone

CONTINUOUS = [spec for spec in TONES.values() if not spec.cadence_ms]
KEYED = [spec for spec in TONES.values() if spec.cadence_ms]


def play(spec: ToneSpec, rate_hz: int, seconds: float) -> Pcm:
    source = ToneSource(spec)
    return np.concatenate([source.take(rate_hz) for _ in range(round(seconds * 50))])


def by_name(spec: ToneSpec) -> str:
    return spec.name


def test_the_table_has_41_tones_and_poland_only_ringback() -> None:
    assert len(TONES) == 41
    assert [name for name in TONES if name.startswith("pl_")] == ["pl_ringback"]


@pytest.mark.parametrize("spec", TONES.values(), ids=by_name)
@pytest.mark.parametrize("rate_hz", [8000, 16000, 24000, 48000])
def test_every_tone_sounds_at_its_frequencies_only(spec: ToneSpec, rate_hz: int) -> None:
    plain = ToneSpec(spec.name, spec.frequencies_hz, am_hz=spec.am_hz)
    expected = set(spec.frequencies_hz)
    if spec.am_hz:
        expected |= {hz + side for hz in spec.frequencies_hz for side in (-spec.am_hz, spec.am_hz)}
    assert peaks_hz(play(plain, rate_hz, 1.0), rate_hz, above=20) == expected


@pytest.mark.parametrize("spec", KEYED, ids=by_name)
def test_every_rhythm_follows_the_table(spec: ToneSpec) -> None:
    cycle_ms = sum(spec.cadence_ms)
    pcm = play(spec, 8000, 2 * cycle_ms / 1000 + 0.02).astype(float)
    start_ms = 0
    for turn in range(2):
        for index, length_ms in enumerate(spec.cadence_ms):
            inside = pcm[(start_ms + 3) * 8 : (start_ms + length_ms - 3) * 8]
            if index % 2:
                assert not inside.any(), (turn, index)
            else:
                assert np.sqrt(np.mean(inside**2)) > 5000, (turn, index)
            start_ms += length_ms


@pytest.mark.parametrize("spec", CONTINUOUS, ids=by_name)
def test_a_continuous_tone_never_pauses(spec: ToneSpec) -> None:
    frames = play(spec, 8000, 12.0).reshape(-1, 160).astype(float)
    assert np.sqrt(np.mean(frames**2, axis=1)).min() > 2000


@pytest.mark.parametrize("name", ["dial", "us_dial", "US_Dial", " us_DIAL "])
def test_a_bare_name_is_american_and_case_does_not_matter(name: str) -> None:
    assert parse_tone(name) is TONES["us_dial"]


def test_uk_is_an_alias_of_gb() -> None:
    assert parse_tone("UK_ringback") is TONES["gb_ringback"]


@pytest.mark.parametrize("name", ["", "_", "pl_busy", "xx_dial", "us_", "dial_us", "siren"])
def test_an_unknown_tone_is_refused_with_the_list_of_names(name: str) -> None:
    with pytest.raises(UnknownTone, match=r"known tones: us_ringback, us_busy, .*ru_congestion"):
        parse_tone(name)


def test_components_share_the_amplitude_equally() -> None:
    amplitudes = spectrum(play(TONES["us_dial"], 8000, 1.0), 8000)
    assert amplitudes[350] == pytest.approx(PEAK_AMPLITUDE / 2, rel=1e-3)
    assert amplitudes[440] == pytest.approx(PEAK_AMPLITUDE / 2, rel=1e-3)


def test_modulation_is_complete() -> None:
    plain = ToneSpec("am", (400,), am_hz=25)
    pcm = np.abs(play(plain, 8000, 1.0).astype(int))
    assert pcm.max() == pytest.approx(PEAK_AMPLITUDE, rel=0.01)
    quiet = pcm[8000 * 3 // 4 // 25 - 8 : 8000 * 3 // 4 // 25 + 8]
    assert quiet.max() < PEAK_AMPLITUDE * 0.01


def test_phase_is_continuous_across_frames_and_seconds() -> None:
    pcm = play(TONES["gb_dial"], 8000, 3.0).astype(int)
    time_s = np.arange(pcm.size) / 8000
    exact = 11_500 * (np.sin(2 * np.pi * 350 * time_s) + np.sin(2 * np.pi * 440 * time_s))
    assert np.abs(pcm - exact).max() < 1


def test_a_rate_change_keeps_phase_and_rhythm() -> None:
    source = ToneSource(TONES["de_busy"])
    for _ in range(7):
        source.take(8000)
    moved = source.take(16000)
    straight = ToneSource(TONES["de_busy"])
    assert np.array_equal([straight.take(16000) for _ in range(8)][-1], moved)


def test_edges_fade_within_2_ms() -> None:
    pcm = play(TONES["de_congestion"], 48000, 0.5).astype(int)
    assert pcm[0] == 0
    assert np.abs(pcm[: 48 * 1]).max() < PEAK_AMPLITUDE * 0.55
    assert np.abs(pcm[48 * 239 : 48 * 240]).max() < PEAK_AMPLITUDE * 0.55
    assert np.abs(np.diff(pcm[48 * 238 : 48 * 241])).max() < 2500


def test_a_tone_never_finishes_and_gives_frames_of_its_own() -> None:
    source = ToneSource(TONES["us_dial"])
    first = source.take(8000)
    first[:] = 0
    for _ in range(49):
        source.take(8000)
    assert source.take(8000).any()
    assert not source.finished
