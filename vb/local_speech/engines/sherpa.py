"""sherpa-onnx with a folder of its models; which kind they are is told by the names of their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from vb.codecs.pcm import Pcm
from vb.local_speech.engines.base import EngineFailed, Written

_RATE_HZ: Final = 16_000


def _find(folder: Path, word: str) -> str | None:
    """Return the file of a folder whose name has a word, its int8 form before others."""
    found = sorted(folder.glob(f"*{word}*.onnx"), key=lambda path: ("int8" not in path.name, path.name))
    return str(found[0]) if found else None


def arguments_of(folder: Path) -> tuple[str, dict[str, str]] | None:
    """Return how a recognizer is made of a folder's files: the name of its constructor and what it takes.

    None when the files are of no kind that is known.
    """
    tokens = sorted(folder.glob("*tokens.txt"))
    if not tokens:
        return None
    known = {"tokens": str(tokens[0])}
    encoder, decoder, joiner = (_find(folder, word) for word in ("encoder", "decoder", "joiner"))
    if encoder and decoder and joiner:
        return "from_transducer", {**known, "encoder": encoder, "decoder": decoder, "joiner": joiner}
    parts = {
        "preprocessor": _find(folder, "preprocess"),
        "encoder": _find(folder, "encode"),
        "uncached_decoder": _find(folder, "uncached_decode"),
        "cached_decoder": next(
            (str(path) for path in sorted(folder.glob("cached_decode*.onnx"))),
            None,
        ),
    }
    if all(parts.values()):
        return "from_moonshine", {**known, **{name: path for name, path in parts.items() if path}}
    if encoder and decoder:
        return "from_whisper", {**known, "encoder": encoder, "decoder": decoder}
    model = _find(folder, "model")
    if model is not None:
        return "from_sense_voice", {**known, "model": model}
    return None


class Sherpa:
    """A recognizer of whole utterances.

    Args:
        folder: of the model.

    Raises:
        EngineFailed: it cannot be loaded.
    """

    def __init__(self, folder: Path) -> None:
        import sherpa_onnx

        made = arguments_of(folder)
        if made is None:
            raise EngineFailed(f"the files in {folder.name} are no model that is known")
        constructor, files = made
        try:
            build: Any = getattr(sherpa_onnx.OfflineRecognizer, constructor)
            self._recognizer: Any = build(num_threads=1, **files)
        except (RuntimeError, ValueError, TypeError) as exc:
            raise EngineFailed(f"the model in {folder.name} cannot be loaded: {exc}") from None

    def listen(self, pcm: Pcm, language: str) -> Written:
        """Return the words of an utterance."""
        stream = self._recognizer.create_stream()
        stream.accept_waveform(_RATE_HZ, pcm.astype(np.float32) / 32768)
        self._recognizer.decode_stream(stream)
        return Written(str(stream.result.text).strip(), 1.0)
