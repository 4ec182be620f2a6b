"""Reliable provisional responses: sending, repeating and acknowledging them.  Spec: RFC 3262."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from weakref import proxy

from vb.ids import IdSource
from vb.sip.errors import CallStateError
from vb.sip.message import Request, Response
from vb.sip.options import names_option
from vb.sip.response_retransmission import ResponseRetransmission, RetransmissionHost
from vb.sip.server_transaction import InviteServerTransaction

OPTION = "100rel"
MAX_WAITING = 8
_RACK = re.compile(r"\s*([0-9]{1,10})\s+([0-9]{1,10})\s+(\S+)\s*")
_RSEQ = re.compile(r"\s*([0-9]{1,10})\s*")


@dataclass(frozen=True, slots=True)
class Provisional:
    """A 1xx as its sender wants it; `is_offer` tells what `sdp` is."""

    status: int
    reason: str | None
    headers: Sequence[tuple[str, str]]
    sdp: bytes | None
    is_offer: bool = False


class ReliableOwner(Protocol):
    """The call that sends reliable responses."""

    def send_provisional(self, response: Provisional, extra: Sequence[tuple[str, str]], now: float) -> None:
        """Send a provisional response in its transaction, with further headers."""
        ...

    def no_prack(self, now: float) -> None:
        """A response was not acknowledged in 64·T1."""
        ...


class ReliableProvisionals:
    """The callee's side: one response at a time, in order, each repeated until its PRACK.

    Args:
        owner: the call, which owns this part.

    Attributes:
        is_supported: the caller takes reliable responses.
        is_required: the caller takes no others.
        has_sent_sdp: a session description has gone out reliably, so that nothing needs to repeat it.
    """

    def __init__(
        self,
        host: RetransmissionHost,
        ids: IdSource,
        transaction: InviteServerTransaction,
        owner: ReliableOwner,
    ) -> None:
        invite = transaction.request
        self.is_required = names_option(invite, "Require", OPTION)
        self.is_supported = self.is_required or names_option(invite, "Supported", OPTION)
        self.has_sent_sdp = False
        self._host = host
        self._ids = ids
        self._transaction = transaction
        self._owner: ReliableOwner = proxy(owner)  # no cycle, no work for the collector
        self._rseq = 0
        self._sent: Provisional | None = None  # waits for its PRACK
        self._repetition: ResponseRetransmission | None = None
        self._waiting: list[Provisional] = []

    def takes(self, sdp: bytes | None) -> bool:
        """Whether a response has to be sent reliably; those with SDP are whenever that is possible."""
        return self.is_required or (self.is_supported and sdp is not None)

    @property
    def sdp_pending(self) -> bool:
        """Whether a session description has not reached the caller for certain: a 2xx must wait."""
        if self._sent is None and not self._waiting:
            return False
        return any(item is not None and item.sdp is not None for item in (self._sent, *self._waiting))

    def put(self, response: Provisional, now: float) -> None:
        """Send a response, after those before it; of several that wait without SDP the last one goes.

        Raises:
            CallStateError: if too many wait.
        """
        if self._sent is None:
            self._send(response, now)
            return
        if self._waiting and self._waiting[-1].sdp is None:
            self._waiting.pop()
        if len(self._waiting) >= MAX_WAITING:
            raise CallStateError("too many provisional responses wait for a PRACK")
        self._waiting.append(response)

    def _send(self, response: Provisional, now: float) -> None:
        # Half the number space is left for what follows; a call never gets that far (RFC 3262 §3).
        self._rseq = self._rseq + 1 if self._rseq else 1 + (self._ids.u32() >> 2)
        self._sent = response
        if response.sdp is not None:
            self.has_sent_sdp = True
        self._owner.send_provisional(response, [("Require", OPTION), ("RSeq", str(self._rseq))], now)
        transaction = self._transaction
        self._repetition = ResponseRetransmission(
            self._host,
            transaction.last_response,
            transaction.hop,
            self._owner.no_prack,
            now,
            max_interval_s=float("inf"),
        )

    def acknowledge(self, prack: Request) -> Provisional | None:
        """Return the response that a PRACK acknowledges and stop repeating it; None if there is none."""
        match = _RACK.fullmatch(prack.headers.get("RAck") or "")
        sent = self._sent
        if match is None or sent is None or match[3] != "INVITE":
            return None
        if (int(match[1]), int(match[2])) != (self._rseq, self._transaction.request.cseq.number):
            return None
        self._sent = None
        self.stop()
        return sent

    def send_next(self, now: float) -> None:
        """Send what waited for the PRACK of the one before."""
        if self._sent is None and self._waiting:
            self._send(self._waiting.pop(0), now)

    def finish(self) -> None:
        """The final response goes out: nothing is repeated or sent, a PRACK on its way still matches."""
        self.stop()
        self._waiting.clear()

    def stop(self) -> None:
        """Stop repeating."""
        if self._repetition is not None:
            self._repetition.stop()
            self._repetition = None


def reliable_number(response: Response) -> int | None:
    """Return the RSeq of a reliable provisional response, None if the response is not reliable.

    Spec: RFC 3262 §4.
    """
    if response.status == 100 or not names_option(response, "Require", OPTION):
        return None
    match = _RSEQ.fullmatch(response.headers.get("RSeq") or "")
    return int(match[1]) if match is not None else None
