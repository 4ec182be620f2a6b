"""A model is loaded in a process of its own first: sherpa-onnx ends the process of one that is not right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from vb.local_speech.engines.base import EngineFailed

_WITHIN_S: Final = 30.0


def try_sherpa(folder: Path) -> None:
    """Load a model as the helper is about to, and end.

    Raises:
        EngineFailed: it cannot be loaded.
    """
    command = [sys.executable, "-P", "-m", "vb.local_speech.tasks.trial", str(folder)]
    try:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_WITHIN_S)
    except subprocess.TimeoutExpired:
        raise EngineFailed(f"the model in {folder.name} is not loaded within {_WITHIN_S:g} s") from None
    except OSError as exc:
        raise EngineFailed(f"the model in {folder.name} cannot be tried: {exc.strerror}") from None
    if ended.returncode:
        words = ended.stderr.decode(errors="replace").strip().rpartition("\n")[2][-200:]
        raise EngineFailed(f"the model in {folder.name} cannot be loaded: {words}")


def main() -> None:
    """Load the model in the folder that is named."""
    from vb.local_speech.engines.sherpa import Sherpa

    Sherpa(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
