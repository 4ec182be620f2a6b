"""INVITE with Replaces: which call a new one takes the place of.  Spec: RFC 3891 §3."""

from __future__ import annotations

from collections.abc import Mapping

from vb.sip.admission import Refusal
from vb.sip.call import Call
from vb.sip.call_state import CallState
from vb.sip.errors import SipParseError
from vb.sip.message import Request
from vb.sip.refer import parse_replaces

MAX_REMEMBERED = 1024


class EndedDialogs:
    """Identifiers of the calls that ended last: to replace one of them is declined, not unheard of."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str], None] = {}

    def add(self, call_id: str, local_tag: str) -> None:
        """Remember an answered call; the oldest one is forgotten for it."""
        if len(self._keys) >= MAX_REMEMBERED:
            del self._keys[next(iter(self._keys))]
        self._keys[call_id, local_tag] = None

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._keys


def find_replaced(
    invite: Request, calls: Mapping[tuple[str, str], Call], ended: EndedDialogs
) -> Call | Refusal | None:
    """Return the call that an INVITE is to replace, None if it is to replace none, or why it may not.

    To know the identifiers of a dialog is taken for the right to replace it: they are random, and only
    its two ends and those they referred have seen them.

    A call that has gone to another one is declined like one that has ended, which it is about to (§3:
    otherwise nobody would be at the other end of the later of two). If the first one fails before it has
    taken the place, the call can be replaced again.
    """
    if "replaces" not in invite.headers.first:
        return None
    values = invite.headers.get_all("Replaces")
    if len(values) > 1:
        return Refusal(400, "Bad Request (more than one Replaces)")
    try:
        wanted = parse_replaces(values[0])
    except SipParseError:
        return Refusal(400, "Bad Request (bad Replaces)")
    key = (wanted.call_id, wanted.to_tag.lower())
    call = calls.get(key)
    if call is None:
        return Refusal(603) if key in ended else Refusal(481)
    if not call.has_dialog(wanted.from_tag.lower()):
        return Refusal(481)
    successor = call.replaced_by()
    if call.is_over or (successor is not None and not successor.is_over):
        return Refusal(603)
    if call.state is not CallState.EARLY:
        return Refusal(486) if wanted.early_only else call
    return call if call.direction == "outbound" else Refusal(481)
