"""A full ICE agent for one component, as a state machine without I/O.

RTP and RTCP share the component (rtcp-mux, BUNDLE). Bytes, candidates and `now` go in; datagrams, events
and a deadline come out. A pair is one of our bases (a socket or a relay) and an address of the peer.

The end of candidates needs no notice: even then a peer may still be learnt from its own checks, so that
only the time limit ends the search (RFC 8863).

Spec: RFC 8445; trickle RFC 8838; consent RFC 7675.
"""

from __future__ import annotations

from typing import Final

from vb.sdp.ice import Credentials
from vb.webrtc import ice_messages, stun
from vb.webrtc.candidate import Candidate
from vb.webrtc.checklist import LocalBase, Pair, PairState, Route
from vb.webrtc.checks import INITIAL_TIMEOUT_S, Check, PendingChecks
from vb.webrtc.consent import EXPIRES_S, Consent
from vb.webrtc.generation import Generation, Generations, RandomBytes
from vb.webrtc.ice_events import ConsentBack, ConsentMissing, IceEvent, IceFailed, Selected, Transmit
from vb.webrtc.ice_role import Conflict, IceRole
from vb.webrtc.nomination import has_moved, nomination_due, pair_to_nominate, takes_nomination
from vb.webrtc.request_gate import RequestGate
from vb.webrtc.stun import Address, Attr, Kind, Message, Method, StunError

PACE_S: Final = 0.05
"""Ta: between two new checks."""


class IceAgent:
    """One side of ICE.

    Args:
        controlling: our role, until a conflict or a lite peer changes it; offerers control.
        random_bytes: source of credentials, transaction ids and jitter.
        lite: only answer, for a server that every peer can reach (RFC 8445 §2.5).

    Attributes:
        dropped: datagrams that were no STUN, not signed for us, seen before, unexpected, or too many.
    """

    def __init__(self, *, controlling: bool, random_bytes: RandomBytes, lite: bool = False) -> None:
        self.dropped = 0
        self._lite = lite
        self._random = random_bytes
        self._role = IceRole(random_bytes, controlling=controlling, fixed=lite)
        self._generations = Generations(random_bytes, controlling=self._role.controlling)
        self._pending = PendingChecks()
        self._gate = RequestGate(remembers=lite)
        self._consent: Consent | None = None
        self._next_check_at = float("-inf")
        self._closed = False
        self._out: list[Transmit] = []
        self._events: list[IceEvent] = []

    @property
    def controlling(self) -> bool:
        """Our role now."""
        return self._role.controlling

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
                check.generation.fail(check.pair, now)
        newest = self._generations.newest
        newest.retry(now)
        if now >= self._next_check_at and not self._lite and (pair := newest.next_pair()) is not None:
            self._check(newest, pair, now)
            self._next_check_at = now + PACE_S
        self._nominate(newest, now)
        self._keep_alive(now)
        self._give_up(now)

    def deadline(self) -> float | None:
        """Return when `expire` is to be called next, None when nothing is due without a datagram."""
        if self._closed:
            return None
        newest = self._generations.newest
        due = [self._pending.deadline(), nomination_due(newest) if self.controlling else None]
        due.append(newest.connect_by if self._consent is None else self._consent.deadline())
        if not self._lite and newest.has_next():
            due.append(self._next_check_at)
        if newest.selected is None:
            due.append(newest.retry_at)
        return min((at for at in due if at is not None), default=None)

    def _keep_alive(self, now: float) -> None:
        selected = self._generations.current.selected
        if selected is None or self._consent is None:
            return
        if self._consent.takes_keepalive(now):
            self._send(ice_messages.keepalive(self._random(stun.TRANSACTION_ID_BYTES)), *selected.route)
        if self._consent.takes_check(now, self._random(1)[0] / 255):
            self._check(self._generations.current, selected, now, consent=True)

    def _give_up(self, now: float) -> None:
        """Tell of missing consent, and end when it has run out or no pair was found in time."""
        newest = self._generations.newest
        hoping = newest.connect_by is None or now < newest.connect_by
        if self._consent is not None:
            if self._consent.turns_missing(now):
                self._events.append(ConsentMissing())
            if not self._consent.expired(now):
                return
            self._consent = None
            hoping = hoping and self.restarting and newest.connect_by is not None
        if not hoping:
            lost = self._generations.current.selected is not None
            self._events.append(IceFailed("consent_lost" if lost else "no_connection"))
            self.close()

    def _consent_given(self, now: float) -> None:
        if self._consent is not None and self._consent.given(now):
            self._events.append(ConsentBack())

    def _request(self, message: Message, source: Address, base: LocalBase, now: float) -> None:
        generation = self._gate.admit(message, (base.key, source), self._generations, now)
        if generation is None:
            self.dropped += 1
            return
        refused = ice_messages.refusal(message)
        conflict = self._role.judge(message)
        if refused is None and conflict is Conflict.REFUSE:
            refused = ice_messages.ROLE_CONFLICT, "Role Conflict"
        password = generation.local.password
        if refused is not None:
            self._send(ice_messages.error_response(message, *refused, password), base.key, source)
            return
        if conflict is Conflict.SWITCH:
            self._set_role(controlling=not self.controlling)
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
        succeeded = pair.state is PairState.SUCCEEDED
        if self._lite:
            self._works(generation, pair, now)
        elif succeeded and (self.controlling or generation.selected is None):
            self._nominated(generation, pair, now)
        elif not succeeded or self._leads(generation, pair, now):
            # That it worked once tells nothing of now: the answer to this check does.
            self._pending.cancel(lambda check: check.pair is pair)
            generation.checklist.trigger(pair)
        if self._lite and pair is generation.selected:
            self._consent_given(now)

    def _response(self, message: Message, source: Address, base: Address, now: float) -> None:
        check = self._pending.find(message.transaction_id)
        remote = None if check is None else check.generation.remote
        expected = check is not None and check.pair.route == (base, source)
        if check is None or remote is None or not (expected and message.verify(remote.password.encode())):
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
        if check.nominate and pair is generation.nominating:
            self._select(generation, pair, now)
        self._works(generation, pair, now)

    def _refused(self, check: Check, code: int, now: float) -> None:
        if check.consent:
            return
        if code != ice_messages.ROLE_CONFLICT:
            check.generation.fail(check.pair, now)
            return
        if self._role.refused(claimed=check.controlling):
            self._set_role(controlling=not self.controlling)
        check.generation.checklist.trigger(check.pair)

    def _works(self, generation: Generation, pair: Pair, now: float) -> None:
        generation.works(pair, now)
        self._nominated(generation, pair, now)
        self._nominate(generation, now)

    def _nominated(self, generation: Generation, pair: Pair, now: float) -> None:
        """Go over to a pair that works, if it leads to the peer: at once, or by asking for it."""
        if not self._leads(generation, pair, now):
            return
        if not self.controlling:
            self._select(generation, pair, now)
        elif generation.nominating is not pair:
            self._ask_for(generation, pair, now)

    def _leads(self, generation: Generation, pair: Pair, now: float) -> bool:
        """Tell whether the peer has asked for another pair than the selected one, or is heard only there."""
        if pair is generation.selected:
            return False
        if self._consent is not None and self._consent.counts and has_moved(generation, pair, now):
            return True
        return not self.controlling and pair.nominate_on_success and takes_nomination(generation, pair, now)

    def _nominate(self, generation: Generation, now: float) -> None:
        pair = pair_to_nominate(generation, now) if self.controlling else None
        if pair is not None:
            self._ask_for(generation, pair, now)

    def _ask_for(self, generation: Generation, pair: Pair, now: float) -> None:
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
        if before is None or before.route != pair.route:
            self._events.append(Selected(*pair.route))

    def _set_role(self, *, controlling: bool) -> None:
        self._role.controlling = controlling
        self._generations.set_role(controlling=controlling)

    def _check(
        self, generation: Generation, pair: Pair, now: float, *, nominate: bool = False, consent: bool = False
    ) -> None:
        if generation.remote is None:
            return
        tid = self._random(stun.TRANSACTION_ID_BYTES)
        data = ice_messages.check_request(
            generation,
            pair,
            tid,
            controlling=self.controlling,
            tie_breaker=self._role.tie_breaker,
            nominate=nominate,
        )
        if pair.state is not PairState.SUCCEEDED:
            pair.state = PairState.IN_PROGRESS
        due_at = now + (EXPIRES_S if consent else INITIAL_TIMEOUT_S)
        self._pending.add(Check(pair, generation, tid, data, self.controlling, nominate, consent, due_at))
        self._send(data, *pair.route)

    def _send(self, data: bytes, base: Address, destination: Address) -> None:
        self._out.append(Transmit(data, base, destination))
