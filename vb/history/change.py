"""What is to be written of a call: what passes from the server to who writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

PROCESS_LOST: Final = "process_lost"
"""Reason of a call whose server process was gone before the call had ended."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be written about a call: its state now, and what has happened since the last time.

    Attributes:
        version: grows with each change; an older one never replaces a newer one.
        document: all that is known of it, to be packed.
        parts: number and entries (JSON, one a line) of each list of entries that is new or has grown.
        texts: what can be searched besides what the document tells; None when that is as before.
    """

    key: int
    call_id: UUID
    version: int
    joined_us: int
    ended_us: int
    auto_delete: bool
    document: dict[str, Any]
    parts: tuple[tuple[int, bytes], ...]
    texts: tuple[str, ...] | None
