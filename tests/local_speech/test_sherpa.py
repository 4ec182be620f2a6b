"""sherpa-onnx itself with a model that hears two tones; skipped where the extra `sherpa` or onnx is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.local_speech.tiny_transducer import write_model
from vb.codecs.pcm import Pcm
from vb.local_speech.engines.base import EngineFailed
from vb.local_speech.engines.installed import Installed, find_all
from vb.local_speech.engines.sherpa import Sherpa
from vb.local_speech.tasks.trial import try_sherpa

onnx = pytest.importorskip("onnx")
pytest.importorskip("sherpa_onnx")
PAUSE = np.zeros(4_800, np.int16)
LOW, HIGH = 600, 4_000


def tones(*hertz: int) -> Pcm:
    steps = np.arange(4_800) / 16_000
    waves = [(12_000 * np.sin(2 * np.pi * each * steps)).astype(np.int16) for each in hertz]
    parts = [PAUSE]
    for wave in waves:
        parts += [wave, PAUSE]
    return np.concatenate(parts)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(onnx, tmp_path / "tiny")
    return tmp_path / "tiny"


def test_a_model_in_the_folder_of_models_is_found_loaded_and_hears(folder: Path) -> None:
    found = {each.ability.name: each for each in find_all(str(folder.parent), model="tiny")}["tiny"]
    assert (found.engine, found.folder) == ("sherpa", folder)
    ear = Sherpa(folder)
    assert ear.listen(tones(LOW), "en").text == "low"
    assert ear.listen(tones(HIGH, LOW, HIGH), "en").text == "high low high"
    assert ear.listen(tones(), "en").text == ""


@pytest.mark.parametrize("file", ["encoder.onnx", "decoder.onnx", "joiner.onnx"])
@pytest.mark.parametrize("content", [b"", b"no model"])
def test_a_damaged_model_is_said_to_be_one(folder: Path, file: str, content: bytes) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(EngineFailed, match="tiny cannot be loaded"):
        Sherpa(folder)


@pytest.mark.parametrize("wrong", ["words", "facts"])
def test_a_model_that_would_end_the_process_is_refused_before(folder: Path, wrong: str) -> None:
    if wrong == "words":
        (folder / "tokens.txt").write_text("x y z\n", encoding="utf-8")
    else:
        model = onnx.load(str(folder / "decoder.onnx"))
        del model.metadata_props[:]
        onnx.save(model, str(folder / "decoder.onnx"))
    engines = Installed(find_all(str(folder.parent), model="tiny"), try_sherpa=try_sherpa)
    with pytest.raises(EngineFailed, match="tiny cannot be loaded"):
        engines.ear("tiny")


def test_a_model_that_is_right_passes_the_trial(folder: Path) -> None:
    engines = Installed(find_all(str(folder.parent), model="tiny"), try_sherpa=try_sherpa)
    assert engines.ear("tiny").listen(tones(LOW), "en").text == "low"
