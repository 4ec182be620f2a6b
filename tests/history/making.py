"""Calls to store, made without a server."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from vb.history.change import Change
from vb.history.model import Message
from vb.history.present import entry_of, lines_of, said_in, show_message
from vb.history.record import call_key
from vb.history.writer import CallWrite, prepare

BASE_US = 1_790_000_000_000_000
"""2026-09-21T14:13:20Z."""


def change(
    number: int = 1,
    *,
    created_us: int | None = None,
    joined_after_us: int | None = 1_000_000,
    duration_us: int | None = 60_000_000,
    version: int = 2,
    texts: tuple[str, ...] | None = (),
    parts: tuple[tuple[int, bytes], ...] = (),
    auto_delete: bool = False,
    reason: str = "remote_bye",
    **document: Any,
) -> Change:
    """A call; without a duration it goes on, without an answer it ends after ten seconds."""
    call_id = uuid.UUID(int=(number << 64) | 0x8000_4000_0000_0000, version=4)
    created = BASE_US + number * 1_000_000 if created_us is None else created_us
    joined = 0 if joined_after_us is None else created + joined_after_us
    ended = 0
    if duration_us is not None:
        ended = joined + duration_us if joined else created + 10_000_000
    fields: dict[str, Any] = {
        "leg_id": str(call_id),
        "leg_type": "sip_inbound",
        "instance_id": "one",
        "created_us": created,
        **({"joined_us": joined} if joined else {}),
        **({"ended_us": ended, "reason": reason} if ended else {}),
        **document,
    }
    key = call_key(call_id, created)
    return Change(key, call_id, version, joined, ended, auto_delete, fields, parts, texts)


def write(number: int = 1, **fields: Any) -> CallWrite:
    """The same as the database takes it."""
    return prepare(change(number, **fields))


def entries_of(parts: Iterable[bytes]) -> list[dict[str, Any]]:
    """What happened in a call, of its parts."""
    return [entry_of(line) for line in lines_of(parts)]


def messages_of(call: Change) -> list[Message]:
    """What was said in a call."""
    said = said_in(lines_of(data for _, data in call.parts))
    return [show_message(call.document, entry) for entry in said]
