"""Capsules, and the error codes of streams."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.quic.capsules import (
    MAX_REASON_BYTES,
    CapsuleError,
    Capsules,
    Close,
    encode_close,
)
from vb.quic.varint import varint
from vb.quic.webtransport import from_http_code, to_http_code


@given(st.integers(0, 0xFFFFFFFF), st.text(max_size=200), st.integers(1, 9))
def test_an_end_is_read_however_it_is_cut(code: int, reason: str, step: int) -> None:
    data = varint(0x1F) + varint(300) + bytes(300) + encode_close(code, reason)
    capsules, found = Capsules(), None
    for at in range(0, len(data), step):
        found = capsules.receive(data[at : at + step]) or found
    assert found == Close(code, reason)


def test_words_that_are_too_long_are_cut_between_characters() -> None:
    close = Capsules().receive(encode_close(1, "é" * MAX_REASON_BYTES))
    assert close == Close(1, "é" * (MAX_REASON_BYTES // 2))


def test_what_nobody_knows_is_skipped_and_not_kept() -> None:
    capsules = Capsules()
    assert capsules.receive(varint(0x1F) + varint(1 << 40)) is None
    for _ in range(100):
        assert capsules.receive(bytes(10_000)) is None
    assert len(capsules._held) == 0


@pytest.mark.parametrize(
    "value",
    [b"abc", b"\x00" * (5 + MAX_REASON_BYTES), b"\x00\x00\x00\x01\xff"],
    ids=["short", "long", "text"],
)
def test_a_wrong_end_is_an_error(value: bytes) -> None:
    with pytest.raises(CapsuleError):
        Capsules().receive(varint(0x2843) + varint(len(value)) + value)


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_any_bytes_are_capsules_or_an_error(parts: list[bytes]) -> None:
    capsules = Capsules()
    for part in parts:
        try:
            capsules.receive(part)
        except CapsuleError:
            return


@given(st.integers(0, 0xFFFFFFFF))
def test_error_codes_go_through_http(code: int) -> None:
    there = to_http_code(code)
    assert (there - 0x21) % 0x1F  # never one of those that are reserved
    assert from_http_code(there) == code


@pytest.mark.parametrize(
    ("code", "there"),
    [(0, 0x52E4A40FA8DB), (29, 0x52E4A40FA8F8), (30, 0x52E4A40FA8FA), (0xFFFFFFFF, 0x52E5AC983162)],
)
def test_error_codes_are_those_of_the_draft(code: int, there: int) -> None:
    assert to_http_code(code) == there


@given(st.integers(0, (1 << 62) - 1))
def test_any_code_of_http_is_some_code(code: int) -> None:
    assert 0 <= from_http_code(code) <= 0xFFFFFFFF
