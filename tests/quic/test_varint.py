"""Integers of variable length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.quic.varint import MAX_VARINT, read_varint, varint


@given(st.integers(0, MAX_VARINT), st.binary(max_size=3))
def test_an_integer_is_read_as_it_was_written_wherever_it_is(value: int, before: bytes) -> None:
    data = varint(value)
    end = len(before) + len(data)
    assert read_varint(before + data + b"x", len(before)) == (value, end)
    assert read_varint(before + data[:-1], len(before)) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "00"),
        (63, "3f"),
        (64, "4040"),
        (16383, "7fff"),
        (16384, "80004000"),
        (2**30 - 1, "bfffffff"),
        (2**30, "c000000040000000"),
        (MAX_VARINT, "ff" * 8),
    ],
)
def test_an_integer_takes_as_few_bytes_as_it_needs(value: int, text: str) -> None:
    assert varint(value).hex() == text


@pytest.mark.parametrize(
    ("text", "value"),
    # The examples of RFC 9000, appendix A.1; the last one is longer than it needs to be.
    [
        ("c2197c5eff14e88c", 151288809941952652),
        ("9d7f3e7d", 494878333),
        ("7bbd", 15293),
        ("25", 37),
        ("4025", 37),
    ],
)
def test_integers_are_read_as_the_rfc_has_them(text: str, value: int) -> None:
    assert read_varint(bytes.fromhex(text)) == (value, len(text) // 2)


@pytest.mark.parametrize("value", [-1, MAX_VARINT + 1])
def test_what_has_no_such_form_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="no varint"):
        varint(value)
