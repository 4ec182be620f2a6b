"""Putting local speech together from its settings."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from vb.children.tasks.process import launcher
from vb.config import LocalSpeechConfig
from vb.errors import ConfigError
from vb.local_speech.engines.installed import detector_file, find_all
from vb.local_speech.tasks.speech import Limits, LocalSpeech

_ROWS = 512
"""Streams that may be watched, and as many transcripts: what the detector remembers of each is a kilobyte."""


def build_local_speech(config: LocalSpeechConfig) -> LocalSpeech:
    """Return the engines that are installed here, none of which is started.

    Raises:
        ConfigError: a voice or model that the settings name is not installed.
    """
    found = find_all(config.models_dir, config.voice, config.model)
    voices = tuple(each.ability for each in found if each.is_voice)
    models = tuple(each.ability for each in found if not each.is_voice)
    for name, setting, abilities in (
        (config.voice, "VB_LOCAL_VOICE", voices),
        (config.model, "VB_LOCAL_MODEL", models),
    ):
        if name and name not in [ability.name for ability in abilities]:
            raise ConfigError(f"{setting}: {name} is not installed; `vb models list` shows what is")
    if config.turn_model and not Path(config.turn_model).is_file():
        raise ConfigError(f"VB_TURN_MODEL: {config.turn_model} is no file")
    if config.turn_model and find_spec("onnxruntime") is None:
        raise ConfigError("VB_TURN_MODEL: onnxruntime is not installed (pip install 'vb[speech]')")
    command = own_command(config.models_dir, config.voice, config.model, _ROWS, config.turn_model)
    limits = Limits(config.utterances, config.transcripts, config.memory_mb)
    return LocalSpeech(
        launcher(command),
        voices,
        models,
        limits,
        detects=detector_file() is not None,
        judges_turns=bool(config.turn_model),
    )


def own_command(models: str, voice: str, model: str, rows: int, turn_model: str = "") -> list[str]:
    """Return the command that runs the helper with the engines that are installed."""
    module = "vb.local_speech.tasks.helper"
    values = {
        "--models": models,
        "--voice": voice,
        "--model": model,
        "--rows": str(rows),
        "--turn-model": turn_model,
    }
    options = [part for name, value in values.items() for part in (name, value) if value]
    return [sys.executable, "-P", "-m", module, *options]
