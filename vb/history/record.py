"""What is known of one call while it goes on, and what of that is to be written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

from vb.history.change import Change
from vb.history.packing import dump_json
from vb.history.quality import QUALITY_PART, QualityTrack
from vb.history.schema import KEY_BITS

PART_ENTRIES: Final = 64
PART_BYTES: Final = 65_536
MAX_SIP_MESSAGES: Final = 500
ROW_BYTES: Final = 64
MAX_TEXT_CHARS: Final = 200_000
"""Of a call's transcript, as far as it can be searched."""
MAX_STAYS: Final = 200
"""Of one call in rooms, and as many recordings and agents; what happened is still listed as events."""


def call_id_of(leg_id: str) -> UUID:
    """Return the id of a leg's call: the leg's own when it is a UUID, as those are that vb draws."""
    try:
        return UUID(leg_id)
    except ValueError:
        return uuid5(NAMESPACE_URL, f"vb:leg:{leg_id}")


def call_key(call_id: UUID, created_us: int) -> int:
    """Return the key of a call; see `vb.history.schema`."""
    digest = hashlib.blake2b(call_id.bytes, digest_size=2).digest()
    return (created_us << KEY_BITS) | (int.from_bytes(digest) & ((1 << KEY_BITS) - 1))


@dataclass(slots=True)
class CallRecord:
    """One call.

    Attributes:
        document: what is known of it, as JSON data.
        dirty: whether something is to be written.
        quality: how it sounds, over time.
        quality_told_us: when that was last written for its own sake.
    """

    leg_id: str
    created_us: int
    document: dict[str, Any]
    call_id: UUID = field(init=False)
    key: int = field(init=False)
    version: int = 0
    joined_us: int = 0
    ended_us: int = 0
    auto_delete: bool = False
    dirty: bool = True
    _part: int = 1
    _entries: list[bytes] = field(default_factory=list)
    _bytes: int = 0
    _grown: bool = False
    _full: list[tuple[int, bytes]] = field(default_factory=list)
    _sip_messages: int = 0
    _texts: list[str] = field(default_factory=list)
    _text_chars: int = 0
    _texts_new: bool = True
    quality: QualityTrack = field(default_factory=QualityTrack)
    quality_told_us: int = 0

    def __post_init__(self) -> None:
        self.call_id = call_id_of(self.leg_id)
        self.key = call_key(self.call_id, self.created_us)
        self.quality_told_us = self.created_us

    @property
    def held_bytes(self) -> int:
        """What waits to be written."""
        return self._bytes + sum(len(data) for _, data in self._full) + ROW_BYTES * len(self.quality.rows)

    def append(self, entry: bytes) -> None:
        """Add an entry: JSON on one line."""
        if self._entries and (len(self._entries) >= PART_ENTRIES or self._bytes + len(entry) > PART_BYTES):
            self._full.append((self._part, b"\n".join(self._entries)))
            self._part += 1
            self._entries, self._bytes = [], 0
        self._entries.append(entry)
        self._bytes += len(entry)
        self._grown = self.dirty = True

    @property
    def takes_sip(self) -> bool:
        """Whether there is room for another SIP message."""
        return self._sip_messages < MAX_SIP_MESSAGES

    def append_sip(self, timestamp: str, direction: str, text: str, *, cut: bool) -> None:
        """Add a SIP message."""
        self._sip_messages += 1
        entry = {"type": "sip.message", "timestamp": timestamp, "direction": direction, "text": text}
        self.append(dump_json({**entry, "cut": True} if cut else entry))

    def say(self, text: str) -> None:
        """Let a piece of the transcript be found."""
        if self._text_chars < MAX_TEXT_CHARS:
            self._texts.append(text)
            self._text_chars += len(text)
            self._texts_new = True

    def correct(self, said: str, heard: str) -> None:
        """Let what was heard be found in place of what was to be said."""
        for at in range(len(self._texts) - 1, -1, -1):
            if self._texts[at] == said:
                self._texts[at] = heard
                self._texts_new = True
                break

    def names_changed(self) -> None:
        """Let the parties and the metadata be found anew."""
        self._texts_new = True

    def items(self, name: str) -> list[dict[str, Any]]:
        """Return a list of the document, to be added to."""
        found: list[dict[str, Any]] = self.document.setdefault(name, [])
        return found

    def take(self) -> Change:
        """Return what is to be written now; from now on nothing is, until the call goes on."""
        self.version += 2  # odd ones are left to who closes a lost call: the true end still replaces that
        parts = list(self._full)
        if self._grown:
            parts.append((self._part, b"\n".join(self._entries)))
        if self.quality.grown:
            parts.append((QUALITY_PART, self.quality.take()))
        change = Change(
            self.key,
            self.call_id,
            self.version,
            self.joined_us,
            self.ended_us,
            self.auto_delete,
            _copy(self.document),
            tuple(parts),
            tuple(self._texts) if self._texts_new else None,
        )
        self.dirty = self._grown = self._texts_new = False
        self._full = []
        return change

    def give_back(self, change: Change) -> None:
        """Take note that a change could not be kept; the next one tells all of it again."""
        self.dirty = True
        self._grown = self._grown or any(number == self._part for number, _ in change.parts)
        numbers = {number for number, _ in change.parts}
        self.quality.grown = self.quality.grown or QUALITY_PART in numbers
        full = {number: data for number, data in change.parts if number < self._part}
        full.update(self._full)  # a part that was not full then may be now
        self._full = sorted(full.items())
        self._texts_new = self._texts_new or change.texts is not None


def _copy(document: dict[str, Any]) -> dict[str, Any]:
    """Copy a document as deep as it changes."""
    return {
        name: [dict(item) for item in value] if isinstance(value, list) else value
        for name, value in document.items()
    }
