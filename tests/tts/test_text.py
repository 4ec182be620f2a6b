"""Texts in pieces."""

from __future__ import annotations

from time import process_time

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


def test_a_long_gap_is_read_once() -> None:
    began = process_time()
    pieces = split_text(("x" + " " * 19_998) * 2 + "x", 20_000)
    assert process_time() - began < 0.5  # seconds where each blank of it begins a search of its own
    assert "".join("".join(pieces).split()) == "xxx"
