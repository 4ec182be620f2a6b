"""Sentences as callers hear them, and how far what was written is from what was said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

SENTENCES = (
    "Thank you for calling, how can I help you today?",
    "Your appointment is on Tuesday at half past three.",
    "Please bring your passport and a recent photograph.",
    "All of our agents are busy at the moment.",
    "Your order has been shipped and will arrive tomorrow morning.",
    "I would like to speak to somebody in the sales department.",
    "The office is closed on Sundays and public holidays.",
    "Could you please repeat the last part of your address?",
    "We have received your payment and sent you a receipt.",
    "The train to the airport leaves every twenty minutes.",
    "Press one for billing or stay on the line.",
    "My internet connection has been very slow since yesterday.",
    "The doctor will call you back before five in the afternoon.",
    "I forgot my password and cannot log into my account.",
    "There is a table for four people near the window.",
    "The delivery driver could not find your front door.",
    "Your room is ready and breakfast begins at seven.",
    "Can you tell me the balance of my savings account?",
    "The technician will visit your house on Friday morning.",
    "Is there anything else that I can do for you?",
)
NUMBERS = dict(
    enumerate(
        (
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
        )
    )
) | {20: "twenty", 30: "thirty", 40: "forty", 50: "fifty"}


def words_of(text: str) -> list[str]:
    """Return the words of a text in one spelling: lower case, no punctuation, small numbers in letters."""
    found = re.findall(r"[a-z0-9']+", text.lower().replace("’", "'"))
    return [NUMBERS.get(int(word), word) if word.isdecimal() else word for word in found]


@dataclass(frozen=True)
class Errors:
    """Words that were replaced, left out or put in.

    Attributes:
        count: of these.
        words: that were said.
    """

    count: int = 0
    words: int = 0

    def __add__(self, other: Errors) -> Errors:
        return Errors(self.count + other.count, self.words + other.words)

    @property
    def rate(self) -> float:
        """The word error rate."""
        return self.count / max(1, self.words)


def errors_of(said: Sequence[str], written: Sequence[str]) -> Errors:
    """Return the least number of changes that makes one list of words the other."""
    row = list(range(len(written) + 1))
    for place, word in enumerate(said, 1):
        before, row[0] = row[0], place
        for column, other in enumerate(written, 1):
            before, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, before + (word != other)),
            )
    return Errors(row[-1], len(said))
