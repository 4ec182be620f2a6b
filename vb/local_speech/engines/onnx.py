"""Opens models of ONNX, as the detector of speech and the turn model have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vb.local_speech.engines.base import EngineFailed


def open_session(model: Path) -> Any:  # an onnxruntime.InferenceSession, which has no types
    """Return a session on one thread.

    Raises:
        EngineFailed: the file cannot be loaded.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # its errors have no common base
        raise EngineFailed(f"{model.name} cannot be loaded: {exc}") from None
