"""Requests outside any dialog: a table of the methods that we take, and what handles each.

A further method, such as MESSAGE or REGISTER, is one more entry; Allow follows.

Spec: RFC 3261 §8.2, §11.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from vb.sip.admission import Refusal
from vb.sip.hop import Hop, TransactionKey
from vb.sip.message import Request


class OutsideRequest(NamedTuple):
    """A request outside any dialog that has passed the checks which every method has in common.

    Attributes:
        key: of its server transaction, should it need one.
        hop: where responses go.
        source: where it came from.
    """

    request: Request
    key: TransactionKey
    hop: Hop
    source: Hop


OutsideHandler = Callable[[OutsideRequest, float], Refusal | None]
"""Takes a request; returns the final response where no transaction is needed, else None.

A response without a transaction costs no memory: a repeated request is simply handled again.
"""


RefuseNew = Callable[[bool], tuple[int, str | None, Sequence[tuple[str, str]]] | None]
"""Returns status, reason and headers that refuse a new INVITE, None where it may come in.

With True the INVITE is there and counts; with False somebody only asks.
"""


class MethodTable:
    """The methods that an agent takes, each with what handles it outside any dialog.

    Attributes:
        allow: value of the Allow header.
    """

    __slots__ = ("_handlers", "allow")

    def __init__(self, handlers: Mapping[str, OutsideHandler]) -> None:
        self._handlers = dict(handlers)
        # ACK and CANCEL are no requests of their own: whoever takes INVITE takes them with it.
        self.allow = ", ".join(self._handlers).replace("INVITE", "INVITE, ACK, CANCEL", 1)

    def __contains__(self, method: str) -> bool:
        return method in self._handlers

    def handle(self, outside: OutsideRequest, now: float) -> Refusal | None:
        """Hand a request to what handles its method, which has to be in the table."""
        return self._handlers[outside.request.method](outside, now)


def method_table(
    invite: OutsideHandler,
    options: OutsideHandler,
    *,
    info: bool = False,
    further: Mapping[str, OutsideHandler] | None = None,
) -> MethodTable:
    """Return the methods of a user agent.

    Args:
        invite: makes calls.
        options: tells whether it would.
        info: take INFO inside dialogs.
        further: what handles other methods.
    """
    return MethodTable(
        {
            "INVITE": invite,
            "BYE": need_dialog,
            "UPDATE": need_dialog,
            "PRACK": need_dialog,
            "REFER": decline,
            "NOTIFY": need_dialog,
            "OPTIONS": options,
            **({"INFO": need_dialog} if info else {}),
            **(further or {}),
        }
    )


def decline(outside: OutsideRequest, now: float) -> Refusal | None:
    """Decline REFER: outside a call there is nobody to transfer.  Spec: RFC 3515 §2.4.2."""
    return Refusal(603)


def need_dialog(outside: OutsideRequest, now: float) -> Refusal | None:
    """Refuse what makes sense in a dialog only.  Spec: RFC 3261 §12.2.2, §15.1.2."""
    return Refusal(481)
