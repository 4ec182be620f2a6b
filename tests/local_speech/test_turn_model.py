"""Whether somebody has finished: a turn model that the test writes, in the engine and in the real helper."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.local_speech import onnx_file
from tests.local_speech.fakes import FakeHelper, open_speech, say
from vb.config import LocalSpeechConfig
from vb.errors import ConfigError
from vb.local_speech.engines.base import EngineFailed
from vb.local_speech.engines.smart_turn import TURN_SAMPLES, SmartTurn
from vb.local_speech.frames import Kind
from vb.local_speech.tasks.build import build_local_speech
from vb.local_speech.tasks.turn_model import TurnModel
from vb.local_speech.work import MAX_TURNS
from vb.providers.failure import ProviderFailed

ONNX = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="not installed: onnxruntime")
LOUD = np.full(16_000, 30_000, np.int16)
QUIET = np.full(16_000, 3_000, np.int16)


def written(folder: Path, content: bytes) -> Path:
    path = folder / "turns.onnx"
    path.write_bytes(content)
    return path


@ONNX
def test_samples_come_as_they_are_and_the_end_of_a_long_turn_counts(tmp_path: Path) -> None:
    model = SmartTurn(written(tmp_path, onnx_file.SAMPLES))
    assert model.judge(LOUD) == pytest.approx(30_000 / 32_768)
    assert model.judge(QUIET) == pytest.approx(3_000 / 32_768)
    quiet_end = np.concatenate([LOUD, np.resize(QUIET, TURN_SAMPLES)])
    assert model.judge(quiet_end) == pytest.approx(3_000 / 32_768)
    assert model.judge(np.zeros(0, np.int16)) == 0.0


@ONNX
def test_a_model_in_the_manner_of_smart_turn_sees_a_picture_of_eight_seconds(tmp_path: Path) -> None:
    model = SmartTurn(written(tmp_path, onnx_file.PICTURE))
    noise = np.random.default_rng(1).integers(-9000, 9000, TURN_SAMPLES).astype(np.int16)
    assert model.judge(noise) > model.judge(noise[-16_000:])
    assert model.judge(noise // 8) == pytest.approx(model.judge(noise), abs=0.01)  # loudness is evened out


@ONNX
@pytest.mark.parametrize(
    "content",
    [
        b"no model",
        onnx_file.model("Abs", shape=(1, 2, 3, 4)),
        onnx_file.model("Abs", shape=(1, "n"), kind=7),
    ],
)
def test_a_file_that_is_no_turn_model_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(EngineFailed, match=r"turns\.onnx"):
        SmartTurn(written(tmp_path, content))


@ONNX
def test_a_model_that_wants_another_size_fails_when_it_is_asked(tmp_path: Path) -> None:
    model = SmartTurn(written(tmp_path, onnx_file.model("ReduceMean", shape=(1, 40, 100))))
    with pytest.raises(EngineFailed, match="the turn model failed"):
        model.judge(LOUD)


def test_a_setting_that_names_no_file_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="VB_TURN_MODEL"):
        build_local_speech(LocalSpeechConfig(turn_model=str(tmp_path / "none.onnx")))


async def test_each_turn_has_its_own_answer(autojump_clock: MockClock) -> None:
    async with open_speech(FakeHelper(), judges_turns=True) as speech:
        model = TurnModel(speech)
        assert await model.judge(say("one")) == pytest.approx(0.9)
        assert await model.judge(say("one two")) == pytest.approx(0.1)


async def test_more_turns_than_can_be_judged_in_time_are_refused(autojump_clock: MockClock) -> None:
    async with open_speech(FakeHelper(turn_s=60.0), judges_turns=True) as speech:
        model = TurnModel(speech)
        async with trio.open_nursery() as nursery:
            for _ in range(MAX_TURNS):
                nursery.start_soon(model.judge, say("one"))
            await trio.sleep(1)
            with pytest.raises(ProviderFailed, match="busy"):
                await model.judge(say("one"))
            nursery.cancel_scope.cancel()


async def test_a_question_that_nobody_waits_for_is_withdrawn(autojump_clock: MockClock) -> None:
    helper = FakeHelper(turn_s=1.0)
    async with open_speech(helper, judges_turns=True) as speech:
        model = TurnModel(speech)
        with trio.move_on_after(0.5):
            await model.judge(say("one"))
        await wait_all_tasks_blocked()
        assert helper.frames[-1].kind is Kind.CANCEL
        assert await model.judge(say("two")) == pytest.approx(0.1)
        assert speech.count("turn") == 0


async def test_a_crash_fails_the_question_and_the_next_one_is_answered(autojump_clock: MockClock) -> None:
    helper = FakeHelper(turn_s=1.0)
    async with open_speech(helper, judges_turns=True) as speech:
        model = TurnModel(speech)

        async def crash() -> None:
            await trio.sleep(0.5)
            helper._scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash)
            with pytest.raises(ProviderFailed):
                await model.judge(say("one"))
        assert await model.judge(say("one")) == pytest.approx(0.9)


@asynccontextmanager
async def open_model(path: Path) -> AsyncIterator[TurnModel]:
    speech = build_local_speech(LocalSpeechConfig(turn_model=str(path)))
    assert speech.judges_turns
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speech.run)
        yield TurnModel(speech)
        nursery.cancel_scope.cancel()


@pytest.mark.integration
@ONNX
async def test_the_helper_runs_the_model_of_the_setting(tmp_path: Path) -> None:
    async with open_model(written(tmp_path, onnx_file.SAMPLES)) as model:
        with trio.fail_after(60):
            assert await model.judge(LOUD) == pytest.approx(30_000 / 32_768)
            assert await model.judge(QUIET) == pytest.approx(3_000 / 32_768)


@pytest.mark.integration
@ONNX
async def test_a_file_that_is_no_model_is_told_to_whoever_asks(tmp_path: Path) -> None:
    async with open_model(written(tmp_path, b"no model")) as model:
        with trio.fail_after(60), pytest.raises(ProviderFailed) as failed:
            await model.judge(LOUD)
    assert failed.value.category == "permanent_input"
    assert str(sys.prefix) not in str(failed.value)
