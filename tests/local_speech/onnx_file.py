"""A turn model small enough to be written down: the loudest sample is how sure it is that a turn is over.

An ONNX file is a message of protocol buffers; the fields used here are those of onnx.proto, IR version 8.
"""

from __future__ import annotations

FLOAT = 1


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(raw)) + raw


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes(found) + bytes([value])


def _value(name: str, shape: tuple[int | str, ...], kind: int = FLOAT) -> bytes:
    dims = b"".join(
        _bytes(1, _number(1, each) if isinstance(each, int) else _bytes(2, each)) for each in shape
    )
    tensor = _number(1, kind) + _bytes(2, dims)
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor))


def _node(kind: str, given: str, made: str) -> bytes:
    return _bytes(1, given) + _bytes(2, made) + _bytes(4, kind)


def model(*steps: str, shape: tuple[int | str, ...], kind: int = FLOAT) -> bytes:
    """Return a model that does one step after the other with its only input."""
    names = ["in", *(f"v{number}" for number in range(len(steps) - 1)), "out"]
    graph = b"".join(_bytes(1, _node(step, names[at], names[at + 1])) for at, step in enumerate(steps))
    graph += (
        _bytes(2, "turns")
        + _bytes(11, _value("in", shape, kind))
        + _bytes(12, _value("out", (1,) * len(shape), kind))
    )
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, _number(2, 13))


SAMPLES = model("Abs", "ReduceMax", shape=(1, "samples"))
"""Takes samples: how loud the loudest is."""
PICTURE = model("ReduceMean", "Sigmoid", shape=(1, 80, 800))
"""Takes a log-mel picture: how bright it is."""
