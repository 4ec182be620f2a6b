"""Texts in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.tts.text import split_text


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("  \n ", []),
        ("short", ["short"]),
        ("One two. Three four.", ["One two.", "Three four."]),
        ("One two three four, five six", ["One two", "three four,", "five six"]),
        ("abcdefghijklmnop", ["abcdefghijkl", "mnop"]),
        ("日本語です。次の文です。最後です。", ["日本語です。次の文です。", "最後です。"]),
        ('He said "no!" Then he left.', ["He said", '"no!" Then', "he left."]),
    ],
)
def test_a_text_is_cut_where_a_speaker_breathes(text: str, pieces: list[str]) -> None:
    assert split_text(text, 12) == pieces


def _utf8(text: str) -> int:
    return len(text.encode())


@given(st.text(st.characters(codec="utf-8")), st.integers(4, 40))
def test_nothing_is_lost_and_nothing_too_long(text: str, limit: int) -> None:
    for measure in (len, _utf8):
        pieces = split_text(text, limit, measure)
        assert all(piece.strip() and measure(piece) <= limit for piece in pieces)
        assert "".join("".join(pieces).split()) == "".join(text.split())
