from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.local_speech.sentences import FIRST_PIECE, MAX_PIECE, Sentences


def pieces(text: str) -> list[str]:
    sentences = Sentences()
    return sentences.feed(text) + sentences.end()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello there. How are you? Fine!", ["Hello there.", "How are you?", "Fine!"]),
        ("Dr. Smith met J. Doe at 3.30 p.m. today.", ["Dr. Smith met J. Doe at 3.30 p.m. today."]),
        ("It costs $3.50. Really.", ["It costs $3.50.", "Really."]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ("Wait... what?", ["Wait...", "what?"]),
        ("One\n\nTwo", ["One", "Two"]),
        ("no end", ["no end"]),
        (" . ! ", []),
        ("", []),
    ],
)
def test_text_is_cut_into_sentences(text: str, expected: list[str]) -> None:
    assert pieces(text) == expected


def test_a_sentence_is_certain_only_when_the_next_one_begins() -> None:
    sentences = Sentences()
    assert sentences.feed("Meet Dr.") == []
    assert sentences.feed(" Smith. ") == []
    assert sentences.feed("N") == ["Meet Dr. Smith."]
    assert sentences.end() == ["N"]


def test_a_long_sentence_is_cut_after_a_clause_and_the_first_piece_is_shorter() -> None:
    text = "The quick brown fox jumps over the lazy dog, and " * 8 + "sleeps."
    found = pieces(text)
    assert len(found[0]) <= FIRST_PIECE
    assert found[0].endswith("dog,")
    assert all(len(piece) <= MAX_PIECE for piece in found)
    assert " ".join(found) == text


@given(st.text(alphabet="ab. ,!?\n;X", max_size=600), st.integers(1, 50))
def test_nothing_that_can_be_spoken_is_lost_however_text_comes(text: str, step: int) -> None:
    sentences = Sentences()
    found = [
        piece for start in range(0, len(text), step) for piece in sentences.feed(text[start : start + step])
    ]
    found += sentences.end()
    letters = [letter for letter in text if letter.isalnum()]
    assert [letter for piece in found for letter in piece if letter.isalnum()] == letters
    assert all(len(piece) <= MAX_PIECE for piece in found)
