"""Conditions that calls have words, in each kind of database."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Table, cast, literal

from vb.history.schema import LexemeQuery


def match_words(table: Table, words: Sequence[str], dialect: str) -> ColumnElement[bool]:
    """Return the condition that a call has all words, looked up in the index of words."""
    if dialect == "sqlite":
        return table.c.call_words.bool_op("MATCH")(" AND ".join(f'"{word}"' for word in words))
    query = " & ".join(f"'{word}'" for word in words)
    return table.c.words.bool_op("@@")(cast(literal(query), LexemeQuery))


def have_words(table: Table, words: Sequence[str], dialect: str) -> ColumnElement[bool]:
    """Return the same condition for rows that are found by their key, or walked in its order."""
    matched = match_words(table, words, dialect)
    # PostgreSQL's index of words serves no condition of this form: it would gather all matches first.
    return matched if dialect == "sqlite" else matched.is_(True)
