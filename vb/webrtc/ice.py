"""A full ICE agent for one component, as a state machine without I/O.

RTP and RTCP share the component (rtcp-mux, BUNDLE). Bytes, candidates and `now` go in; datagrams, events
and a deadline come out. A pair is one of our bases (a socket or a relay) and an address of the peer.

The end of candidates needs no notice: even then a peer may still be learnt from its own checks, so that
only the time limit ends the search (RFC 8863).

Spec: RFC 8445; trickle RFC 8838; consent RFC 7675.
"""

from __future__ import annotations

from typing import Final

from vb.webrtc import ice_messages, stun
from vb.webrtc.candidate import Candidate
from vb.webrtc.checklist import LocalBase, Pair, PairState, Route
from vb.webrtc.checks import INITIAL_TIMEOUT_S, Check, PendingChecks
from vb.webrtc.consent import EXPIRES_S, Consent
from vb.webrtc.generation import Credentials, Generation, Generations, RandomBytes
from vb.webrtc.ice_events import ConsentBack, ConsentMissing, IceEvent, IceFailed, Selected, Transmit
from vb.webrtc.nomination import nomination_due, pair_to_nominate, takes_nomination
from vb.webrtc.request_gate import RequestGate
from vb.webrtc.stun import Address, Attr, Kind, Message, Method, StunError

PACE_S: Final = 0.05
"""Ta: between two new checks."""
CONNECT_LIMIT_S: Final = 30.0
RETRY_S: Final = 1.0
"""From the failure of a pair to another round of checks, as long as no pair is in use."""
KEEPALIVE_S: Final = 15.0

_NO_CHECKS: Final = 2**64
"""Above the priority of every pair."""


class IceAgent:
    """One side of ICE.

    Args:
        controlling: our role, until a conflict or a lite peer changes it; offerers control.
        random_bytes: source of credentials, transaction ids and jitter.
        lite: only answer, for a server that every peer can reach (RFC 8445 §2.5).

    Attributes:
        controlling: our role now.
        dropped: datagrams that were no STUN, not signed for us, unexpected, or too many.
        mapped: our address as the last answer to a check showed it.
    """

    def __init__(self, *, controlling: bool, random_bytes: RandomBytes, lite: bool = False) -> None:
        self.controlling = controlling and not lite
        self.dropped = 0
        self.mapped: Address | None = None
        self._lite = lite
        self._random = random_bytes
        self._tie_breaker = random_bytes(8)
        self._generations = Generations(random_bytes, controlling=self.controlling)
        self._pending = PendingChecks()
        self._gate = RequestGate()
        self._consent: Consent | None = None
        self._next_check_at = float("-inf")
        self._keepalive_at: float | None = None
        self._closed = False
        self._out: list[Transmit] = []
        self._events: list[IceEvent] = []

    @property
    def local(self) -> Credentials:
        """Our credentials, of the newest generation."""
        return self._generations.newest.local

    @property
    def remote(self) -> Credentials | None:
        """The peer's credentials of the newest generation, once known."""
        return self._generations.newest.remote

    @property
    def restarting(self) -> bool:
        """True while a restart has not found its pair."""
        return self._generations.newest is not self._generations.current

    @property
    def route(self) -> Route | None:
        """Base and address to send media on, None while the peer may not be sent anything."""
        for generation in () if self._closed else self._generations:
            pair = generation.best
            if pair is not None and (generation.selected is None or self._consent is not None):
                return pair.route
        return None

    def heard(self, source: Address, base: Address) -> bool:
        """Tell whether a message with the peer's signature has come from there."""
        return any(pair.heard_at > float("-inf") for pair in self._generations.pairs_at(source, base))

    def add_local(self, candidate: Candidate, base: Address) -> None:
        """Send from a base; several candidates may lead to one.

        Args:
            base: names the socket or relay in `Transmit` and `receive`.
        """
        self._generations.add_local(candidate, base)

    def add_remote(self, candidate: Candidate) -> bool:
        """Take a candidate of the peer; False when it is of no use, known, one too many, or of no generation.

        Names (mDNS) are of no use unless resolved: such a peer is learnt from its own checks.
        """
        return self._generations.add_remote(candidate)

    def set_remote(self, credentials: Credentials, now: float, *, lite: bool = False) -> bool:
        """Take the peer's credentials; ones that change are its restart, and make new ones of ours.

        Returns:
            True when the peer restarted ICE, so that our answer must carry our new credentials.
        """
        newest = self._generations.newest
        if newest.remote == credentials:
            return False
        restart = newest.remote is not None
        if restart:
            newest = self._generations.begin()
            self._pending.keep(self._generations.current)
        newest.remote = credentials
        newest.started_at = now
        if lite and not self._lite:
            self._set_role(controlling=True)
        return restart

    def restart(self) -> Credentials:
        """Begin a generation whose credentials our offer carries; the pair in use stays until it has one."""
        if self._generations.newest.remote is not None:
            self._generations.begin()
            self._pending.keep(self._generations.current)
        return self.local

    def withdraw_restart(self) -> None:
        """Forget a restart that the peer has refused."""
        self._generations.withdraw()

    def close(self) -> None:
        """Do nothing from now on."""
        self._closed = True
        self._pending.clear()
        self._consent = None

    def receive(self, data: bytes, source: Address, base: Address, now: float) -> None:
        """Take a datagram that came to a base."""
        try:
            message = stun.parse(data)
        except StunError:
            self.dropped += 1
            return
        local_base = self._generations.bases.get(base)
        if self._closed or local_base is None or message.method != Method.BINDING:
            self.dropped += 1
        elif message.kind is Kind.REQUEST:
            self._request(message, source, local_base, now)
        elif message.kind is not Kind.INDICATION:
            self._response(message, source, base, now)

    def outgoing(self) -> list[Transmit]:
        """Take the datagrams to send."""
        out, self._out = self._out, []
        return out

    def events(self) -> list[IceEvent]:
        """Take what has happened."""
        events, self._events = self._events, []
        return events

    def expire(self, now: float) -> None:
        """Do what is due."""
        if self._closed:
            return
        for check in list(self._pending.due(now)):
            if check.sent:
                self._send(check.data, *check.pair.route)
            elif not (check.cancelled or check.consent):
                self._fail_pair(check, now)
        newest = self._generations.newest
        if newest.selected is None and newest.retry_at is not None and now >= newest.retry_at:
            newest.retry_at = None
            newest.checklist.forgive()
        if now >= self._next_check_at and self._may_check(newest):
            pair = newest.checklist.next_pair(self._floor(newest))
            if pair is not None:
                self._check(newest, pair, now)
                self._next_check_at = now + PACE_S
        self._nominate(newest, now)
        self._keep_alive(now)
        self._give_up(now)

    def deadline(self) -> float | None:
        """Return when `expire` is to be called next, None when nothing is due without a datagram."""
        if self._closed:
            return None
        due = [self._pending.deadline(), self._keepalive_at]
        newest = self._generations.newest
        if self._may_check(newest) and newest.checklist.has_next(self._floor(newest)):
            due.append(self._next_check_at)
        if self._consent is not None:
            due.append(self._consent.deadline())
        elif newest.started_at is not None:
            due.append(newest.started_at + CONNECT_LIMIT_S)
        if newest.selected is None:
            due.append(newest.retry_at)
        if self.controlling:
            due.append(nomination_due(newest))
        return min((at for at in due if at is not None), default=None)

    def _keep_alive(self, now: float) -> None:
        selected = self._generations.current.selected
        if selected is None or self._consent is None:
            return
        if self._keepalive_at is not None and now >= self._keepalive_at:
            self._keepalive_at = now + KEEPALIVE_S
            self._send(ice_messages.keepalive(self._random(stun.TRANSACTION_ID_BYTES)), *selected.route)
        if self._consent.takes_check(now, self._random(1)[0] / 255):
            self._check(self._generations.current, selected, now, consent=True)

    def _give_up(self, now: float) -> None:
        """Tell of missing consent, and end when it has run out or no pair was found in time."""
        newest = self._generations.newest
        hoping = newest.started_at is None or now < newest.started_at + CONNECT_LIMIT_S
        if self._consent is not None:
            if self._consent.turns_missing(now):
                self._events.append(ConsentMissing())
            if not self._consent.expired(now):
                return
            self._consent = self._keepalive_at = None
            hoping = hoping and self.restarting and newest.started_at is not None
        if not hoping:
            lost = self._generations.current.selected is not None
            self._events.append(IceFailed("consent_lost" if lost else "no_connection"))
            self.close()

    def _consent_given(self, now: float) -> None:
        if self._consent is not None and self._consent.given(now):
            self._events.append(ConsentBack())

    def _request(self, message: Message, source: Address, base: LocalBase, now: float) -> None:
        generation = self._gate.admit(message, self._generations, now)
        if generation is None:
            self.dropped += 1
            return
        refused = ice_messages.refusal(message)
        theirs = ice_messages.conflicting_tie_breaker(message, controlling=self.controlling)
        if refused is None and theirs is not None:
            if self._lite or (self._tie_breaker >= theirs) == self.controlling:
                refused = ice_messages.ROLE_CONFLICT, "Role Conflict"
            else:
                self._set_role(controlling=not self.controlling)
        password = generation.local.password
        if refused is not None:
            self._send(ice_messages.error_response(message, *refused, password), base.key, source)
            return
        self._send(ice_messages.success_response(message, source, password), base.key, source)
        pair = generation.checklist.reflexive(base, source, stun.read_uint32(message.get(Attr.PRIORITY)))
        if pair is None:
            self.dropped += 1
            return
        pair.heard_at = now
        if not self.controlling and message.get(Attr.USE_CANDIDATE) is not None:
            pair.nominate_on_success = True
        self._answer_check(generation, pair, now)

    def _answer_check(self, generation: Generation, pair: Pair, now: float) -> None:
        """Do what a request on a pair asks for: a check of our own, or its nomination."""
        if pair.state is PairState.SUCCEEDED:
            self._nominated(generation, pair, now)
        elif self._lite:
            self._works(generation, pair, now)
        else:
            self._pending.cancel(lambda check: check.pair is pair)
            generation.checklist.trigger(pair)
        if self._lite and pair is generation.selected:
            self._consent_given(now)

    def _response(self, message: Message, source: Address, base: Address, now: float) -> None:
        check = self._pending.find(message.transaction_id)
        remote = None if check is None else check.generation.remote
        if check is None or remote is None or check.pair.route != (base, source):
            self.dropped += 1
            return
        if not message.verify(remote.password.encode()):
            self.dropped += 1
            return
        self._pending.remove(check)
        if message.kind is Kind.ERROR:
            self._refused(check, stun.read_error_code(message.get(Attr.ERROR_CODE)), now)
            return
        pair, generation = check.pair, check.generation
        pair.heard_at = now
        if check.consent:
            if pair is self._generations.current.selected:
                self._consent_given(now)
            return
        self._learn_mapped(message)
        if check.nominate and pair is generation.nominating:
            self._select(generation, pair, now)
        self._works(generation, pair, now)

    def _refused(self, check: Check, code: int, now: float) -> None:
        if check.consent:
            return
        if code != ice_messages.ROLE_CONFLICT:
            self._fail_pair(check, now)
            return
        if check.controlling == self.controlling:
            self._set_role(controlling=not self.controlling)
        self._tie_breaker = self._random(8)
        check.generation.checklist.trigger(check.pair)

    def _learn_mapped(self, message: Message) -> None:
        try:
            value = message.get(Attr.XOR_MAPPED_ADDRESS) or b""
            self.mapped = stun.read_xor_address(value, message.transaction_id)
        except StunError:
            self.dropped += 1

    def _works(self, generation: Generation, pair: Pair, now: float) -> None:
        generation.checklist.succeeded(pair)
        if generation.valid_since is None:
            generation.valid_since = now
        self._nominated(generation, pair, now)
        self._nominate(generation, now)

    def _nominated(self, generation: Generation, pair: Pair, now: float) -> None:
        if pair.nominate_on_success and not self.controlling and takes_nomination(generation, pair, now):
            self._select(generation, pair, now)

    def _nominate(self, generation: Generation, now: float) -> None:
        pair = pair_to_nominate(generation, now) if self.controlling else None
        if pair is not None:
            generation.nominating = pair
            self._check(generation, pair, now, nominate=True)

    def _select(self, generation: Generation, pair: Pair, now: float) -> None:
        if generation.selected is pair or generation is not self._generations.newest:
            return
        before = self._generations.current.selected
        generation.selected = pair
        self._generations.settle()
        self._pending.keep(generation)
        rank = generation.checklist.priority
        self._pending.cancel(lambda check: rank(check.pair) < rank(pair))
        if self._consent is not None and self._consent.missing:
            self._events.append(ConsentBack())
        self._consent = Consent(now, asking=not self._lite)
        self._keepalive_at = now + KEEPALIVE_S if self._lite else None
        if before is None or before.route != pair.route:
            self._events.append(Selected(*pair.route))

    def _fail_pair(self, check: Check, now: float) -> None:
        check.pair.state = PairState.FAILED
        check.generation.retry_at = now + RETRY_S
        if check.generation.nominating is check.pair:
            check.generation.nominating = None

    def _set_role(self, *, controlling: bool) -> None:
        self.controlling = controlling
        self._generations.set_role(controlling=controlling)

    def _may_check(self, generation: Generation) -> bool:
        return generation.remote is not None and not self._lite

    def _floor(self, generation: Generation) -> int:
        """Return the priority up to which ordinary checks are of no use any more."""
        if generation.selected is None:
            return -1
        return _NO_CHECKS if self.controlling else generation.checklist.priority(generation.selected)

    def _check(
        self, generation: Generation, pair: Pair, now: float, *, nominate: bool = False, consent: bool = False
    ) -> None:
        if generation.remote is None:
            return
        tid = self._random(stun.TRANSACTION_ID_BYTES)
        role, tie_breaker = self.controlling, self._tie_breaker
        data = ice_messages.check_request(
            generation, pair, tid, controlling=role, tie_breaker=tie_breaker, nominate=nominate
        )
        if pair.state is not PairState.SUCCEEDED:
            pair.state = PairState.IN_PROGRESS
        due_at = now + (EXPIRES_S if consent else INITIAL_TIMEOUT_S)
        self._pending.add(Check(pair, generation, tid, data, role, nominate, consent, due_at))
        self._send(data, *pair.route)

    def _send(self, data: bytes, base: Address, destination: Address) -> None:
        self._out.append(Transmit(data, base, destination))
