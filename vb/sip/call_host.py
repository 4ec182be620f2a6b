"""What a call needs from its agent, and what the parts of a call need from the call.

A call is cut into parts by idea: offers and answers, the session timer, digits in INFO, REFER in either
direction. None of them imports the call, which imports them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol
from weakref import proxy

from vb.ids import IdSource
from vb.sip.call_events import CallEvent
from vb.sip.call_state import CallState
from vb.sip.client_transaction import ClientTransaction
from vb.sip.dialog import Dialog
from vb.sip.hop import Hop, TransactionKey
from vb.sip.message import Request, Response
from vb.sip.server_transaction import ServerTransaction
from vb.sip.settings import AgentSettings
from vb.sip.timers import Timed
from vb.sip.transaction import FailureKind

HeaderList = Sequence[tuple[str, str]]
Done = Callable[[ClientTransaction, Response | FailureKind, float], None]


class CallHost(Protocol):
    """What a call and its parts need from the agent."""

    ids: IdSource
    settings: AgentSettings

    @property
    def allow(self) -> str:
        """Value of the Allow header: the methods that we take."""
        ...

    def send(self, data: bytes, hop: Hop, sender: TransactionKey | None = None) -> None:
        """Queue bytes for a hop; `sender` is the transaction that they are the request of."""
        ...

    def schedule(self, item: Timed) -> None:
        """Take note of a changed deadline."""
        ...

    def start_client(
        self,
        request: Request,
        hop: Hop,
        on_response: Callable[[ClientTransaction, Response, float], None],
        on_failure: Callable[[ClientTransaction, FailureKind, float], None],
        now: float,
    ) -> ClientTransaction:
        """Send a request in a transaction of its own."""
        ...

    def local_via(self, hop: Hop) -> str:
        """Return a Via value with a new branch for a request to a hop."""
        ...

    def local_contact(self, hop: Hop, *, secure: bool = False) -> str:
        """Return our Contact for a peer at a hop; a SIPS URI over TLS if it has to be secure."""
        ...


class OffersOfCall(Protocol):
    """What the session timer and a new 2xx need from the offers and answers of a call."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        ...

    @property
    def has_waiting(self) -> bool:
        """Whether an offer of ours waits to be sent."""
        ...

    def glare_delay_s(self) -> float:
        """Return how long to wait after a 491."""
        ...


class SessionOfCall(Protocol):
    """What offers and digits need from the session timer of a call."""

    def peer_allows(self, method: str) -> bool:
        """Whether the peer says that it takes requests of a method."""
        ...

    def accepted(self, response: Response, now: float) -> None:
        """Start anew as a 2xx to our INVITE or UPDATE says."""
        ...

    def refused(self, now: float) -> None:
        """Take note that a refresh failed, if that was one."""
        ...


class CallContext(Protocol):
    """A call as its parts see it."""

    dialog: Dialog | None
    peer: Hop | None

    @property
    def host(self) -> CallHost:
        """The agent."""
        ...

    @property
    def direction(self) -> Literal["inbound", "outbound"]:
        """Who called."""
        ...

    @property
    def state(self) -> CallState:
        """Where the call is."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether the call has ended, though its last requests may still be under way."""
        ...

    @property
    def offers(self) -> OffersOfCall:
        """Its offers and answers."""
        ...

    @property
    def session(self) -> SessionOfCall:
        """Its session timer."""
        ...

    def set_timer(self, action: Callable[[float], None], at: float) -> None:
        """Run an action once at a time, in place of its earlier wish."""
        ...

    def clear_timer(self, action: Callable[[float], None]) -> None:
        """Forget a timer."""
        ...

    def emit(self, event: CallEvent) -> None:
        """Report an event unless the call is closed."""
        ...

    def respond(
        self,
        transaction: ServerTransaction,
        status: int,
        now: float,
        *,
        reason: str | None = None,
        headers: HeaderList = (),
        body: bytes | None = None,
    ) -> None:
        """Respond to a request of the peer."""
        ...

    def send(
        self,
        method: str,
        done: Done,
        now: float,
        *,
        headers: HeaderList = (),
        body: bytes = b"",
    ) -> ClientTransaction:
        """Send a request inside the dialog."""
        ...

    def send_bye(self, now: float, headers: HeaderList = ()) -> None:
        """Send BYE and close when it is answered."""
        ...

    def lost(self, status: int, now: float) -> None:
        """Report that the peer has lost the dialog, and send BYE all the same."""
        ...

    def has_early_answer(self, remote_tag: str) -> bool:
        """Whether the INVITE's offer was answered for good in this early dialog."""
        ...

    def receive_ack(self, ack: Request, now: float) -> None:
        """Take the ACK of a 2xx of ours."""
        ...


class CallPart:
    """A part of a call, which owns it.

    It holds the call weakly: call and parts would be a cycle otherwise, and every call that ends would be
    work for the garbage collector. A part never outlives its call, so the proxy is always good.
    """

    __slots__ = ("_call",)

    def __init__(self, call: CallContext) -> None:
        self._call: CallContext = proxy(call)
