"""What an engine is. Engines are called from one thread each, block while they work, and hold no calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vb.codecs.pcm import Pcm


class EngineFailed(Exception):
    """An engine cannot do what it was asked; the text is fit for clients."""


@dataclass(frozen=True, slots=True)
class Ability:
    """One voice or model as requests name it, known without loading anything.

    Attributes:
        name: in requests.
        languages: first parts of the language tags that it knows; empty for any.
    """

    name: str
    languages: tuple[str, ...] = ("en",)


class Voice(Protocol):
    """Speaks text."""

    def speak(self, text: str) -> tuple[int, Pcm]:
        """Return rate and samples of a piece of text.

        Raises:
            EngineFailed: it cannot be spoken.
        """
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """What was said, and how sure the engine is of it, from 0 to 1."""

    text: str
    confidence: float


class Ear(Protocol):
    """Writes down what it hears."""

    def listen(self, pcm: Pcm, language: str) -> Written:
        """Return the words of an utterance at 16 kHz.

        Raises:
            EngineFailed: it cannot be understood, for no fault of its speaker.
        """
        ...


class Activity(Protocol):
    """Tells speech from other sounds, in frames of 32 ms of many streams at once."""

    def forget(self, rows: NDArray[np.intp]) -> None:
        """Forget the past of some rows, as new streams begin there."""
        ...

    def judge(self, rows: NDArray[np.intp], frames: Pcm) -> NDArray[np.float32]:
        """Return the probability of speech of one frame of each row.

        Args:
            rows: different ones.
            frames: int16 at 16 kHz, (rows, 512).
        """
        ...


class Turns(Protocol):
    """Tells whether somebody who has paused has finished."""

    def judge(self, pcm: Pcm) -> float:
        """Return how likely it is, by the last eight seconds or less, at 16 kHz.

        Raises:
            EngineFailed: it cannot be told.
        """
        ...


class Engines(Protocol):
    """All engines of one helper: what there is, and how it is loaded on first use."""

    @property
    def voices(self) -> tuple[Ability, ...]:
        """Return the voices; the first one that knows a language speaks it."""
        ...

    @property
    def ears(self) -> tuple[Ability, ...]:
        """Return the models that listen; the first one that knows a language writes it down."""
        ...

    def voice(self, name: str, language: str) -> Voice:
        """Load a voice, or return it if it is loaded, ready for a language.

        Raises:
            EngineFailed: it cannot be loaded, or does not know the language.
        """
        ...

    def ear(self, name: str) -> Ear:
        """Load a model, or return it if it is loaded.

        Raises:
            EngineFailed: it cannot be loaded.
        """
        ...

    def turns(self) -> Turns:
        """Load the turn model, or return it if it is loaded.

        Raises:
            EngineFailed: there is none, or it cannot be loaded.
        """
        ...

    def activity(self, rows: int) -> Activity:
        """Load what tells speech from other sounds, for so many streams.

        Raises:
            EngineFailed: it cannot be loaded.
        """
        ...
