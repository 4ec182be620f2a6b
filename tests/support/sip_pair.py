"""Two user agents stapled together in memory, and a hand-driven peer that writes its own messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.support.ids import SequentialIds
from vb.sip.agent import UserAgent
from vb.sip.call_events import CallEvent, Closed, Incoming, OfferDue
from vb.sip.digest import Credentials
from vb.sip.errors import SipParseError
from vb.sip.framing import PING
from vb.sip.hop import Hop, Outgoing, TransactionKey
from vb.sip.identity import Identity
from vb.sip.inbound import InboundCall
from vb.sip.message import Headers, Request, Response, response_to
from vb.sip.outbound import DialPlan, OutboundCall
from vb.sip.parser import parse_message
from vb.sip.settings import AgentSettings
from vb.sip.uri import parse_uri

OFFER = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\n"
ANSWER = b"v=0\r\no=- 2 1 IN IP4 127.0.0.1\r\ns=-\r\n"
ALICE = Hop("udp", "127.0.0.1", 5061)
BOB = Hop("udp", "127.0.0.1", 5062)
LossPattern = Callable[[int, bytes], bool]


class Side:
    """One agent with the events of its calls."""

    def __init__(self, port: int, *, ids_from: int, settings: AgentSettings | None = None) -> None:
        self.hop = Hop("udp", "127.0.0.1", port)
        self.agent = UserAgent(settings or AgentSettings(port=port), SequentialIds(ids_from))
        self.events: list[CallEvent] = []
        self.calls: list[InboundCall] = []
        self.sent: list[bytes] = []

    @property
    def call(self) -> InboundCall:
        """The newest inbound call."""
        return self.calls[-1]

    def collect(self, now: float) -> None:
        """Take the agent's events; offers that are due go out."""
        for call, event in self.agent.events():
            if isinstance(event, Incoming):
                assert isinstance(call, InboundCall)
                self.calls.append(call)
            elif isinstance(event, OfferDue):
                call.send_offer(now)
            else:
                self.events.append(event)

    def take(self) -> list[CallEvent]:
        """Return the events since the last time."""
        events, self.events = self.events, []
        return events


class Pair:
    """Alice and Bob on a wire of their own with a clock that only the test moves.

    Args:
        lost: told number and bytes of each datagram; True loses it.
    """

    def __init__(self, lost: LossPattern | None = None) -> None:
        self.alice = Side(5061, ids_from=1)
        self.bob = Side(5062, ids_from=1_000_000)
        self.now = 0.0
        self.count = 0
        self.lost = lost
        self.wire: list[tuple[str, bytes]] = []

    def settle(self) -> None:
        """Carry datagrams both ways until both sides are silent."""
        moved = True
        self._collect()
        while moved:
            moved = False
            for side, other, name in ((self.alice, self.bob, "alice"), (self.bob, self.alice, "bob")):
                side.collect(self.now)
                for data, hop, _ in side.agent.outgoing():
                    moved = True
                    self.count += 1
                    self.wire.append((name, data))
                    if self.lost is not None and self.lost(self.count, data):
                        continue
                    if hop.port == other.hop.port:
                        other.agent.receive(data, side.hop, self.now)
            self._collect()

    def _collect(self) -> None:
        for side in (self.alice, self.bob):
            side.collect(self.now)

    def advance(self, seconds: float) -> None:
        """Move the clock, stopping at every deadline on the way."""
        end = self.now + seconds
        self.settle()
        while True:
            deadlines = [d for s in (self.alice, self.bob) if (d := s.agent.deadline()) is not None]
            if not deadlines or min(deadlines) > end:
                break
            self.now = max(self.now, min(deadlines))
            for side in (self.alice, self.bob):
                side.agent.expire(self.now)
            self.settle()
        self.now = end

    def dial(self, *, credentials: Credentials | None = None) -> OutboundCall:
        """Let Alice call Bob."""
        call = self.alice.agent.dial(dial_plan(BOB, credentials=credentials))
        call.start(BOB, OFFER, self.now)
        self.settle()
        return call

    def connect(self) -> tuple[OutboundCall, InboundCall]:
        """Set a call up and forget its events."""
        outbound = self.dial()
        inbound = self.bob.call
        inbound.accept(ANSWER, self.now)
        self.settle()
        self.alice.take()
        self.bob.take()
        return outbound, inbound

    def seen(self) -> list[str]:
        """Return the start lines on the wire, without URIs, and forget them."""
        lines = []
        for name, data in self.wire:
            words = data.split(b"\r\n", 1)[0].decode().split(" ")
            lines.append(f"{name} {words[1] if words[0] == 'SIP/2.0' else words[0]}")
        self.wire.clear()
        return lines


def dial_plan(peer: Hop, *, credentials: Credentials | None = None, uri: str | None = None) -> DialPlan:
    """Return a plan to call a peer."""
    target = parse_uri(uri or f"sip:bob@{peer.host}:{peer.port}")
    return DialPlan(target, f"<{target}>", Identity("<sip:alice@127.0.0.1>", None, None), (), credentials)


class RawPeer:
    """A peer whose messages the test writes; talks to one agent.

    Attributes:
        received: every message that the agent sent, parsed, with its hop.
        keep_alives: what it sent beside messages.
    """

    def __init__(self, settings: AgentSettings | None = None, source: Hop = ALICE) -> None:
        self.side = Side(5062, ids_from=1, settings=settings or AgentSettings(port=5062))
        self.agent = self.side.agent
        self.source = source
        self.now = 0.0
        self.received: list[Request | Response] = []
        self.hops: list[Hop] = []
        self.keep_alives: list[Outgoing] = []
        self._branch = 0

    def send(self, data: bytes) -> list[Request | Response]:
        """Deliver bytes and return what comes back."""
        self.agent.receive(data, self.source, self.now)
        return self.collect()

    def collect(self) -> list[Request | Response]:
        """Return what the agent wants to send."""
        self.side.collect(self.now)
        new = []
        for outgoing in self.agent.outgoing():
            data, hop, _ = outgoing
            if data == PING:
                self.keep_alives.append(outgoing)
                continue
            try:
                new.append(parse_message(data))
            except SipParseError:  # the answer to a damaged request lacks what the request lacked
                new.append(Response(int(data[8:11]), "", Headers()))
            self.hops.append(hop)
        self.received += new
        return new

    def reopened(self) -> TransactionKey:
        """Return for whom the agent has opened its last connection anew."""
        sender = self.keep_alives[-1].sender
        assert sender is not None
        return sender

    def advance(self, seconds: float) -> list[Request | Response]:
        """Move the clock through every deadline and return what was sent."""
        end, new = self.now + seconds, self.collect()
        while (deadline := self.agent.deadline()) is not None and deadline <= end:
            self.now = max(deadline, self.now)
            self.agent.expire(self.now)
            new += self.collect()
        self.now = end
        return new

    def request(
        self,
        method: str,
        *,
        to_tag: str = "",
        cseq: int = 1,
        body: bytes = b"",
        branch: str | None = None,
        headers: Mapping[str, str | None] | None = None,
        uri: str = "sip:bob@127.0.0.1:5062",
        call_id: str = "raw-call",
        from_tag: str = "raw-tag",
    ) -> bytes:
        """Write a request; `headers` replaces headers, None leaves one out."""
        self._branch += 1
        values: dict[str, str | None] = {
            "Via": f"SIP/2.0/UDP 127.0.0.1:5061;branch={branch or f'z9hG4bKraw{self._branch}'};rport",
            "Max-Forwards": "70",
            "From": f"<sip:alice@127.0.0.1>;tag={from_tag}",
            "To": "<sip:bob@127.0.0.1:5062>" + (f";tag={to_tag}" if to_tag else ""),
            "Call-ID": call_id,
            "CSeq": f"{cseq} {method}",
            "Contact": "<sip:alice@127.0.0.1:5061>",
        }
        if body:
            values["Content-Type"] = "application/sdp"
        values.update(headers or {})
        pairs = [(name, value) for name, value in values.items() if value is not None]
        return Request(method, uri, Headers(pairs), body).to_bytes()

    def invite(self, body: bytes = OFFER, branch: str = "z9hG4bKinvite") -> InboundCall:
        """Send an INVITE and return the call that comes of it."""
        self.send(self.request("INVITE", body=body, branch=branch))
        return self.side.call

    def connected(self, body: bytes = OFFER) -> InboundCall:
        """Set a call up, acknowledged, with its messages and events forgotten."""
        call = self.invite(body)
        call.accept(ANSWER, self.now)
        self.collect()
        self.send(self.request("ACK", to_tag=call.local_tag))
        self.received.clear()
        self.side.take()
        return call

    def dial(self, *, credentials: Credentials | None = None, uri: str | None = None) -> OutboundCall:
        """Let the agent call this peer; its INVITE is the last message received."""
        call = self.agent.dial(dial_plan(self.source, credentials=credentials, uri=uri))
        call.start(self.source, OFFER, self.now)
        self.collect()
        return call

    def respond(
        self,
        request: Request | Response,
        status: int,
        *,
        to_tag: str = "callee",
        body: bytes = b"",
        reason: str | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> list[Request | Response]:
        """Respond to a request of the agent and return what comes back."""
        return self.send(
            self.response(request, status, to_tag=to_tag, body=body, reason=reason, headers=headers)
        )

    def response(
        self,
        request: Request | Response,
        status: int,
        *,
        to_tag: str = "callee",
        body: bytes = b"",
        reason: str | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> bytes:
        """Write a response to a request of the agent."""
        assert isinstance(request, Request)
        response = response_to(request, status, reason, to_tag="" if status == 100 else to_tag)
        if 100 < status < 300:
            response.headers.add("Contact", "<sip:bob@127.0.0.1:5061>")
        if body:
            response.headers.add("Content-Type", "application/sdp")
        for name, value in (headers or {}).items():
            response.headers.remove(name)
            if value is not None:
                response.headers.add(name, value)
        response.body = body
        return response.to_bytes()

    def dialled(self, *, credentials: Credentials | None = None) -> OutboundCall:
        """Set an outbound call up, with its messages and events forgotten."""
        call = self.dial(credentials=credentials)
        self.respond(self.received[-1], 200, body=ANSWER)
        self.received.clear()
        self.side.take()
        return call


def statuses(messages: list[Request | Response]) -> list[int | str]:
    """Return statuses of responses and methods of requests."""
    return [m.status if isinstance(m, Response) else m.method for m in messages]


def kinds(events: list[CallEvent]) -> list[str]:
    """Return the names of events."""
    return [type(event).__name__ for event in events]


def is_closed(events: list[CallEvent]) -> bool:
    """Whether `Closed` is the last event and the only one of its kind."""
    return bool(events) and isinstance(events[-1], Closed) and kinds(events).count("Closed") == 1


def last_request(peer: RawPeer) -> Request:
    """Return the request that came last."""
    message = peer.received[-1]
    assert isinstance(message, Request)
    return message
