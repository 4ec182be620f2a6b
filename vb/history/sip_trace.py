"""Which leg a SIP message belongs to, by the Call-ID and our own tag that it carries.

Both are read from the bytes: a message that the stack absorbs, such as a repeated one, belongs to the story
of its call too. A call to the server itself is two legs of one Call-ID, which only their tags tell apart.
What comes before its leg is there, as an INVITE does, waits for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

MAX_EARLY: Final = 1_024
"""Dialogs whose messages wait for a leg."""
MAX_EARLY_EACH: Final = 16
MAX_EARLY_BYTES: Final = 4 * 1_048_576

Direction = Literal["in", "out"]
Dialog = tuple[bytes, bytes]
"""Call-ID and our tag, which is empty in the first messages of an incoming call."""

# The line feed stands outside of the group that ignores case, so that it is looked for as a plain byte.
_LINE: Final = re.compile(rb"\n(?i:(call-id|i)|(from|f)|(to|t))[ \t]*:[ \t]*([^\r\n]*)")
_TAG: Final = re.compile(rb";[ \t]*(?i:tag)[ \t]*=[ \t]*([^\s;,>]+)")


@dataclass(frozen=True, slots=True)
class SipMessage:
    """A SIP message as it was on the wire.

    Attributes:
        direction: as the server sees it.
        at_ns: Unix time.
    """

    direction: Direction
    data: bytes
    at_ns: int


def dialog_of(direction: Direction, data: bytes) -> Dialog | None:
    """Return the dialog of a message; None when it names none."""
    # Our tag is in From when we sent the request, or got the response to it.
    ours = 2 if data.startswith(b"SIP/2.0 ") == (direction == "in") else 3
    call_id = tag = None
    for match in _LINE.finditer(data):
        if match[1] is not None:
            call_id = call_id or match[4].strip()
        elif match[ours] is not None and tag is None:
            found = _TAG.search(match[4])
            tag = found[1] if found is not None else b""
        if call_id and tag is not None:
            return call_id, tag
    return None


class SipTrace:
    """The dialogs of live legs, and messages that have no leg yet."""

    def __init__(self) -> None:
        self._legs: dict[Dialog, str] = {}
        self._dialogs: dict[str, tuple[Dialog, ...]] = {}
        self._early: dict[Dialog, list[SipMessage]] = {}
        self._early_bytes = 0

    def leg_of(self, message: SipMessage) -> str | None:
        """Return the leg of a message; one that has none yet is kept for it."""
        dialog = dialog_of(message.direction, message.data)
        if dialog is None:
            return None
        leg_id = self._legs.get(dialog)
        if leg_id is None:
            self._keep(dialog, message)
        return leg_id

    def add(self, leg_id: str, call_id: str, tag: str, *, inbound: bool) -> Iterator[SipMessage]:
        """Take note of a leg's dialog; gives its messages so far, in order."""
        own = (call_id.encode(), tag.encode())
        dialogs = ((own[0], b""), own) if inbound else (own,)
        self._dialogs[leg_id] = dialogs
        early: list[SipMessage] = []
        for dialog in dialogs:
            self._legs[dialog] = leg_id
            early += self._drop(dialog)
        early.sort(key=lambda message: message.at_ns)
        yield from early

    def forget(self, leg_id: str) -> None:
        """Let go of a leg's dialog."""
        for dialog in self._dialogs.pop(leg_id, ()):
            if self._legs.get(dialog) == leg_id:
                del self._legs[dialog]

    def _keep(self, dialog: Dialog, message: SipMessage) -> None:
        waiting = self._early.setdefault(dialog, [])
        if len(waiting) < MAX_EARLY_EACH:
            waiting.append(message)
            self._early_bytes += len(message.data)
        while len(self._early) > MAX_EARLY or self._early_bytes > MAX_EARLY_BYTES:
            self._drop(next(iter(self._early)))  # the oldest: most never become calls

    def _drop(self, dialog: Dialog) -> list[SipMessage]:
        dropped = self._early.pop(dialog, [])
        self._early_bytes -= sum(len(message.data) for message in dropped)
        return dropped
