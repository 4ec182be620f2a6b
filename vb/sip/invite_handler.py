"""INVITE outside any dialog: it becomes a call, or is refused.  Spec: RFC 3261 §8.2, §13.3; RFC 3891 §3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from vb.sip.admission import Refusal
from vb.sip.call import Call, CallAgent
from vb.sip.errors import SipParseError
from vb.sip.hop import Hop, TransactionKey
from vb.sip.inbound import InboundCall
from vb.sip.message import Request
from vb.sip.multipart import sdp_of, unsupported_body_headers
from vb.sip.outside_dialog import OutsideRequest, RefuseNew
from vb.sip.replacing import EndedDialogs, find_replaced
from vb.sip.server_transaction import InviteServerTransaction, ServerTransaction


class InviteAgent(CallAgent, Protocol):
    """What the handler needs from the agent."""

    ended: EndedDialogs

    @property
    def known_calls(self) -> Mapping[tuple[str, str], Call]:
        """The calls that are not closed, by Call-ID and our tag."""
        ...

    @property
    def refuse_new(self) -> RefuseNew | None:
        """Asked before a new INVITE becomes a call, and what would become of one."""
        ...

    def refusal_when_full(self, *, in_dialog: bool, counts: bool = True) -> Refusal | None:
        """Return how a request is refused, and count it, if there is no room for it."""
        ...

    def count_overload(self) -> None:
        """Count a request that was refused for lack of room."""
        ...

    def new_server(
        self, key: TransactionKey, request: Request, hop: Hop, local_tag: str, now: float
    ) -> ServerTransaction:
        """Begin a server transaction."""
        ...

    def add_inbound(self, call: InboundCall, transaction: InviteServerTransaction, source: Hop) -> None:
        """Take a new call in, and tell its owner."""
        ...


class InviteHandler:
    """Makes calls of INVITEs."""

    __slots__ = ("_agent", "_pending")

    def __init__(self, agent: InviteAgent) -> None:
        self._agent = agent
        self._pending: dict[tuple[str, str, int], TransactionKey] = {}

    def __call__(self, outside: OutsideRequest, now: float) -> Refusal | None:
        """Make a call of an INVITE, or say why not."""
        agent, request = self._agent, outside.request
        refusal = _check_dialog_fields(request) or agent.refusal_when_full(in_dialog=False)
        if refusal is not None:
            return refusal
        replaced = find_replaced(request, agent.known_calls, agent.ended)
        if isinstance(replaced, Refusal):
            return replaced
        identity = (request.call_id, request.from_.tag, request.cseq.number)
        refusal = self._refusal_of(identity)
        if refusal is not None:
            return refusal
        try:
            offer = sdp_of(request)
        except SipParseError as error:
            return Refusal(error.status, headers=tuple(unsupported_body_headers(error)))
        local_tag = agent.ids.token(8)
        transaction = agent.new_server(outside.key, request, outside.hop, local_tag, now)
        assert isinstance(transaction, InviteServerTransaction)
        try:
            call = InboundCall(agent, transaction, local_tag, offer, outside.source, now)
        except SipParseError as error:
            transaction.terminate()
            return Refusal(400, f"Bad Request ({error})")
        if replaced is not None:
            call.take_place_of(replaced)
        transaction.identity = identity
        self._pending[identity] = outside.key
        agent.add_inbound(call, transaction, outside.source)
        return None

    def tell_options(self, outside: OutsideRequest, now: float) -> Refusal | None:
        """Answer OPTIONS as an INVITE would be: proxies ask so whether calls may be sent here.

        Every response says what we take.

        Spec: RFC 3261 §11.2.
        """
        agent = self._agent
        full = agent.refusal_when_full(in_dialog=False, counts=False)
        if full is not None or agent.refuse_new is None:
            return full or Refusal(200)
        refused = agent.refuse_new(False)
        return Refusal(200) if refused is None else Refusal(refused[0], refused[1], tuple(refused[2]))

    def _refusal_of(self, identity: tuple[str, str, int]) -> Refusal | None:
        """Return why a request is refused that has this identity, the same in every copy of a forked one."""
        agent = self._agent
        if identity in self._pending:
            return Refusal(482)  # the same request over another path: RFC 3261 §8.2.2.2
        refused = agent.refuse_new(True) if agent.refuse_new is not None else None
        if refused is None:
            return None
        agent.count_overload()
        return Refusal(refused[0], refused[1], tuple(refused[2]))

    def forget(self, transaction: InviteServerTransaction) -> None:
        """Drop what is known of an INVITE whose transaction has terminated."""
        identity = transaction.identity
        if identity is not None and self._pending.get(identity) == transaction.key:
            del self._pending[identity]


def _check_dialog_fields(invite: Request) -> Refusal | None:
    """Return what an INVITE lacks that a dialog needs."""
    if not invite.from_.tag:
        return Refusal(400, "From tag is missing")
    try:
        if invite.contact is None:
            return Refusal(400, "Contact is missing")
    except SipParseError:
        return Refusal(400, "Bad Contact")
    return None
