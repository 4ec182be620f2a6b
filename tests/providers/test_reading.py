from __future__ import annotations

import base64
import json
import random

import pytest

from vb.providers.reading import read_base64, read_object


@pytest.mark.parametrize("size", [*range(20), 1000, 32_000, 43_201])
def test_base64_is_read_as_it_was_written(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert read_base64(base64.b64encode(data).decode()) == data


@pytest.mark.parametrize(
    "text",
    [
        "A",
        "AAA",
        "AAAAA",
        "AA=AAAAA",
        "AAAA AAAA",
        "é" * 8,
        '"' * 8,
        "AAAA" * 9 + "!AAA",
        "-_-_QUJD",
        "QUI=QUJD",
    ],
)
def test_what_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_base64(text)


@pytest.mark.parametrize(
    "text", ['{"a": "\\ud800"}', '{"a": NaN, "b": 1e400}', '{"a": 123456789012345678901, "a": -0.5}']
)
def test_odd_objects_are_read_as_the_standard_library_reads_them(text: str) -> None:
    assert repr(read_object(text)) == repr(json.loads(text))


@pytest.mark.parametrize("text", ["", "[]", "{", "1", '{"a": 1} x', "[" * 9000])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises((ValueError, RecursionError)):
        read_object(text)
