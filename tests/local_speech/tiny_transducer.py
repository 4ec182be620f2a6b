"""The smallest transducer that hears something: low tones are `low`, high tones are `high`.

It is in the format of sherpa-onnx: an encoder that weighs bands of the spectrum, a decoder that knows the
last word, and a joiner that adds both, so that no word is written twice in a row.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

WORDS = ("<blk>", "▁low", "▁high")
BANDS = 80
CONTEXT = 2
_LOUD = -3.0
"""A band of the logarithmic spectrum that is above this is heard."""


def write_model(onnx: Any, folder: Path) -> None:
    """Write the files of a model.

    Args:
        onnx: the module.
        folder: where; made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{word} {number}" for number, word in enumerate(WORDS)]
    (folder / "tokens.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _save(onnx, _encoder(onnx), folder / "encoder.onnx", {})
    _save(onnx, _decoder(onnx), folder / "decoder.onnx", {"vocab_size": len(WORDS), "context_size": CONTEXT})
    _save(onnx, _joiner(onnx), folder / "joiner.onnx", {"joiner_dim": len(WORDS)})


def _save(onnx: Any, graph: Any, path: Path, facts: dict[str, int]) -> None:
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    for name, value in facts.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = name, str(value)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _encoder(onnx: Any) -> Any:
    """The mean of a lower and of an upper band, each above what counts as loud; silence is no word."""
    make, numbers, types = onnx.helper, onnx.numpy_helper, onnx.TensorProto
    weights = np.zeros((BANDS, len(WORDS)), np.float32)
    weights[8:24, 1] = 1 / 16
    weights[50:66, 2] = 1 / 16
    bias = np.array([0.0, -_LOUD, -_LOUD], np.float32)
    nodes = [
        make.make_node("MatMul", ["x", "weights"], ["weighed"]),
        make.make_node("Add", ["weighed", "bias"], ["encoder_out"]),
        make.make_node("Identity", ["x_lens"], ["encoder_out_lens"]),
    ]
    inputs = [
        make.make_tensor_value_info("x", types.FLOAT, ["N", "T", BANDS]),
        make.make_tensor_value_info("x_lens", types.INT64, ["N"]),
    ]
    outputs = [
        make.make_tensor_value_info("encoder_out", types.FLOAT, ["N", "T", len(WORDS)]),
        make.make_tensor_value_info("encoder_out_lens", types.INT64, ["N"]),
    ]
    constants = [numbers.from_array(weights, "weights"), numbers.from_array(bias, "bias")]
    return make.make_graph(nodes, "encoder", inputs, outputs, constants)


def _decoder(onnx: Any) -> Any:
    """What makes the last word unlikely."""
    make, numbers, types = onnx.helper, onnx.numpy_helper, onnx.TensorProto
    table = np.diag([0.0, -1000.0, -1000.0]).astype(np.float32)
    nodes = [
        make.make_node("Gather", ["y", "last"], ["word"], axis=1),
        make.make_node("Gather", ["table", "word"], ["decoder_out"], axis=0),
    ]
    inputs = [make.make_tensor_value_info("y", types.INT64, ["N", CONTEXT])]
    outputs = [make.make_tensor_value_info("decoder_out", types.FLOAT, ["N", len(WORDS)])]
    constants = [
        numbers.from_array(np.array(CONTEXT - 1, np.int64), "last"),
        numbers.from_array(table, "table"),
    ]
    return make.make_graph(nodes, "decoder", inputs, outputs, constants)


def _joiner(onnx: Any) -> Any:
    make, types = onnx.helper, onnx.TensorProto
    names = ("encoder_out", "decoder_out")
    inputs = [make.make_tensor_value_info(name, types.FLOAT, ["N", len(WORDS)]) for name in names]
    outputs = [make.make_tensor_value_info("logit", types.FLOAT, ["N", len(WORDS)])]
    return make.make_graph([make.make_node("Add", [*names], ["logit"])], "joiner", inputs, outputs)
