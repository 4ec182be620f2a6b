"""What the helper does with frames, without its threads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from tests.local_speech.fakes import FakeEngines, FakeVoice, read_tones, say
from vb.children.framing import Garbage
from vb.codecs.pcm import Pcm
from vb.config import Config
from vb.errors import ConfigError
from vb.local_speech.frames import Frame, Kind, sound_of, with_audio, with_fields, with_number
from vb.local_speech.speaking import MAX_TEXT, without_lead
from vb.local_speech.tasks.build import build_local_speech
from vb.local_speech.work import MAX_BATCHES, Labour, Work


def run(take: Callable[[float], Labour | None]) -> list[Frame]:
    """Do all the work that one engine has."""
    found: list[Frame] = []
    while (job := take(0.0)) is not None:
        found += job()()
    return found


def hear(work: Work) -> list[Frame]:
    return run(work.activity_job) + run(work.ear_job) + run(work.activity_job)


def open_voice(work: Work, number: int, ahead: int = 10**6) -> None:
    work.take(with_fields(Kind.VOICE, number, voice="tones", language="en", ahead=ahead))


def test_frames_about_what_there_is_not_are_nothing() -> None:
    work = Work(FakeEngines(), 4)
    for kind in (Kind.TEXT, Kind.END, Kind.CANCEL, Kind.AUDIO, Kind.FLUSH, Kind.CLOSE):
        assert work.take(Frame(kind, 7, b"")) == []
    assert work.take(with_number(Kind.MORE, 7, 1)) == []
    assert (run(work.voice_job), hear(work), work.waiting) == ([], [], 0)


def test_a_text_without_end_is_refused_at_its_limit() -> None:
    work = Work(FakeEngines(), 4)
    open_voice(work, 1)
    assert work.take(Frame(Kind.TEXT, 1, b"one " * (MAX_TEXT // 4))) == []
    (refused,) = work.take(Frame(Kind.TEXT, 1, b"one"))
    assert (refused.kind, refused.fields["category"]) == (Kind.FAILED, "permanent_input")
    assert run(work.voice_job) == []


def test_a_text_of_nothing_that_can_be_spoken_is_done_at_once() -> None:
    work = Work(FakeEngines(), 4)
    open_voice(work, 1)
    work.take(Frame(Kind.TEXT, 1, b" ... !"))
    assert work.take(Frame(Kind.END, 1)) == [Frame(Kind.DONE, 1)]


def test_a_piece_that_was_cancelled_while_it_was_spoken_leaves_no_frame() -> None:
    work = Work(FakeEngines(), 4)
    open_voice(work, 1)
    work.take(Frame(Kind.TEXT, 1, b"One. Two."))
    work.take(Frame(Kind.END, 1))
    job = work.voice_job(0.0)
    assert job is not None
    finish = job()
    work.take(Frame(Kind.CANCEL, 1))
    assert finish() == []
    assert run(work.voice_job) == []


def test_an_engine_that_works_for_long_is_told_from_one_that_waits() -> None:
    work = Work(FakeEngines(), 4)
    assert work.busy_s(100.0) == 0
    open_voice(work, 1)
    work.take(Frame(Kind.TEXT, 1, b"One. Two."))
    job = work.voice_job(10.0)
    assert job is not None
    assert work.busy_s(15.0) == 5
    job()()
    assert work.voice_job(20.0) is None
    assert work.busy_s(30.0) == 0


def test_rows_are_used_again_and_never_more_than_there_are() -> None:
    work = Work(FakeEngines(), 2)
    for number in range(1, 4):
        answers = work.take(with_fields(Kind.STREAM, number, model="ears", language="en"))
        assert [each.kind for each in answers] == ([Kind.FAILED] if number == 3 else [])
    work.take(Frame(Kind.CANCEL, 1))
    assert work.take(with_fields(Kind.STREAM, 4, model="ears", language="en")) == []
    for number, text in ((2, "one two"), (4, "three four")):
        for frame in with_audio(number, say(text)):
            work.take(frame)
        work.take(Frame(Kind.CLOSE, number))
    found = {frame.id: frame.fields["text"] for frame in hear(work) if b'"final"' in frame.body}
    assert found == {2: "one two", 4: "three four"}
    assert work.waiting == 0


def test_a_transcript_cancelled_while_its_frame_is_judged_gives_its_row_back() -> None:
    work = Work(FakeEngines(), 1)
    work.take(with_fields(Kind.STREAM, 1, model="ears", language="en"))
    for frame in with_audio(1, np.zeros(512, np.int16)):
        work.take(frame)
    job = work.activity_job(0.0)
    assert job is not None
    finish = job()
    work.take(Frame(Kind.CANCEL, 1))
    (refused,) = work.take(with_fields(Kind.STREAM, 2, model="ears", language="en"))
    assert refused.kind is Kind.FAILED
    assert finish() == []
    assert work.take(with_fields(Kind.STREAM, 3, model="ears", language="en")) == []


def test_half_a_sample_and_impossible_rows_are_garbage() -> None:
    work = Work(FakeEngines(), 2)
    work.take(with_fields(Kind.STREAM, 1, model="ears", language="en"))
    for frame in (Frame(Kind.AUDIO, 1, b"x"), Frame(Kind.FRAMES, 2, b"x")):
        with pytest.raises(Garbage):
            work.take(frame)


def test_batches_that_nobody_judged_in_time_are_answered_by_nothing() -> None:
    from vb.local_speech.rows import write

    work = Work(FakeEngines(), 2)
    frames = np.zeros((1, 512), np.int16)
    answers = [work.take(write(number, [0], [], frames)) for number in range(MAX_BATCHES + 1)]
    assert answers[:-1] == [[]] * MAX_BATCHES
    assert answers[-1] == [Frame(Kind.ODDS, 0)]


def test_sound_and_its_mark_come_together() -> None:
    work = Work(FakeEngines(), 2)
    open_voice(work, 9)
    work.take(Frame(Kind.TEXT, 9, b"One two."))
    work.take(Frame(Kind.END, 9))
    sound, mark, done = run(work.voice_job)
    assert read_tones(sound_of(sound)[1]) == "one two"
    assert mark.fields == {"text": "One two.", "start_ms": 0, "end_ms": 200}
    assert done == Frame(Kind.DONE, 9)


def test_silence_before_the_first_sound_is_left_out_and_between_sentences_it_stays() -> None:
    class Slow(FakeVoice):
        def speak(self, text: str) -> tuple[int, Pcm]:
            rate_hz, pcm = super().speak(text)
            return rate_hz, np.concatenate([np.zeros(5000, np.int16), pcm])

    work = Work(FakeEngines(Slow()), 2)
    open_voice(work, 1)
    work.take(Frame(Kind.TEXT, 1, b"One. Two."))
    work.take(Frame(Kind.END, 1))
    first, second = (sound_of(frame)[1] for frame in run(work.voice_job) if frame.kind is Kind.SOUND)
    assert abs(len(first) - (1600 + 640)) < 10
    assert len(second) == 1600 + 5000
    assert len(without_lead(16_000, np.zeros(100, np.int16))) == 100


@pytest.mark.parametrize("setting", ["VB_LOCAL_VOICE", "VB_LOCAL_MODEL"])
def test_a_voice_or_model_that_is_not_installed_ends_the_start(setting: str) -> None:
    config = Config.from_env({setting: "nobody"})
    with pytest.raises(ConfigError, match=rf"{setting}: nobody is not installed; `vb models list`"):
        build_local_speech(config.local_speech)


def test_the_server_loads_no_engine() -> None:
    code = (
        "import sys, vb.server\n"
        "from vb.config import Config\n"
        "from vb.local_speech.tasks.build import build_local_speech\n"
        "build_local_speech(Config().local_speech)\n"
        "engines = ('hibari', 'onnxruntime', 'ctranslate2', 'sherpa_onnx', 'pocketsphinx')\n"
        "sys.exit(any(name in sys.modules for name in engines))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
