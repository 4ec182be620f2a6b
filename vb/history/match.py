"""Conditions that calls have words, in each kind of database."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Table, and_, cast, func, literal

from vb.history.schema import LexemeQuery


def match_words(table: Table, words: Sequence[str], dialect: str) -> ColumnElement[bool]:
    """Return the condition that a call has all words, looked up in the index of words."""
    if dialect == "sqlite":
        return table.c.call_words.bool_op("MATCH")(" AND ".join(f'"{word}"' for word in words))
    query = " & ".join(f"'{word}'" for word in words)
    return table.c.words.bool_op("@@")(cast(literal(query), LexemeQuery))


def have_words(table: Table, words: Sequence[str], dialect: str) -> ColumnElement[bool]:
    """Return the same condition for rows that are walked in the order of their keys."""
    matched = match_words(table, words, dialect)
    # PostgreSQL's index of words serves no condition of this form: it would gather all matches first.
    return matched if dialect == "sqlite" else matched.is_(True)


def probe_words(table: Table, words: Sequence[str], dialect: str) -> ColumnElement[bool]:
    """Return the same condition for single rows that are found by their key."""
    if dialect != "sqlite":
        return have_words(table, words, dialect)
    # FTS5 goes on from a key to the next row that has all words, however far that is.
    told = literal(" ").concat(table.c.words).concat(" ")
    return and_(*(func.instr(told, f" {word} ") > 0 for word in words))
