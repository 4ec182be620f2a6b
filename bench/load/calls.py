"""All calls of the generator: placed, answered, hung up; bytes and time in, bytes out."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from bench.load.sip import Caller, Received, agree, audio_address, offered_direction, read_message

T1_S: Final = 0.5
GIVE_UP_S: Final = 32.0

State = Literal["calling", "trying", "up", "ending", "ended", "failed"]


@dataclass(slots=True)
class Call:
    """One call and where it stands."""

    caller: Caller
    request: bytes
    rtp_port: int
    placed_at: float
    state: State = "calling"
    setup_ms: float | None = None
    status: int = 0
    to_tag: str = ""
    contact: str = ""
    resend_s: float = T1_S
    given_up_at: float = 0.0
    cseq: int = 1
    is_referred: bool = False

    @property
    def is_over(self) -> bool:
        return self.state in ("ended", "failed")


def _ignore(number: int) -> None:
    """Hear of a call's end without caring."""


def _ignore_hold(number: int, held: bool) -> None:
    """Hear of a hold without caring."""


@dataclass(slots=True)
class Calls:
    """A caller with many calls on one socket.

    Args:
        send: takes every datagram for the server.
        answered: told the number and the audio address of every answered call.
        over: told the number of every call that has ended or failed.
        held: told the number of a call that the server holds, or no longer holds.
    """

    send: Callable[[bytes], object]
    answered: Callable[[int, tuple[str, int]], None]
    over: Callable[[int], None] = _ignore
    held: Callable[[int, bool], None] = _ignore_hold
    by_number: dict[int, Call] = field(default_factory=dict)
    resent: int = 0
    refused: dict[int, int] = field(default_factory=dict)
    unfinished: set[int] = field(default_factory=set)
    states: Counter[State] = field(default_factory=Counter)
    _timers: list[tuple[float, int, State]] = field(default_factory=list)

    def place(self, caller: Caller, rtp_port: int, now: float) -> None:
        """Send the INVITE of a new call."""
        call = Call(caller, caller.invite(rtp_port), rtp_port, now, given_up_at=now + GIVE_UP_S)
        self.by_number[caller.number] = call
        self.states[call.state] += 1
        self._begin(call, "calling", now)

    def hang_up(self, number: int, now: float) -> None:
        """Send BYE if the call is up."""
        call = self.by_number[number]
        if call.state == "up":
            call.cseq += 1
            call.request = call.caller.bye(call.contact, call.to_tag, call.cseq)
            call.resend_s, call.given_up_at = T1_S, now + GIVE_UP_S
            self._begin(call, "ending", now)

    def _begin(self, call: Call, state: State, now: float) -> None:
        self._enter(call, state)
        self.unfinished.add(call.caller.number)
        self.send(call.request)
        heapq.heappush(self._timers, (now + call.resend_s, call.caller.number, state))

    def _end(self, call: Call, state: State) -> None:
        """Finish setting up or ending a call."""
        if call.is_over:
            return
        self._enter(call, state)
        self.unfinished.discard(call.caller.number)
        if state != "up":
            self.over(call.caller.number)

    def _enter(self, call: Call, state: State) -> None:
        self.states[call.state] -= 1
        self.states[state] += 1
        call.state = state

    def receive(self, data: bytes, now: float) -> None:
        """Take a datagram from the server."""
        received = read_message(data)
        if received is None:
            return
        number = received.header("call-id").partition("-")[0]
        call = self.by_number.get(int(number)) if number.isdigit() else None
        if received.status == 0:
            self._request(received, call)
            return
        if call is None or call.caller.call_id != received.header("call-id"):
            return
        if received.method == "BYE" and received.status >= 200:
            self._end(call, "ended")
        elif received.method == "INVITE":
            self._invite_response(
                call, received.status, received.to_tag, received.contact, received.body, now
            )

    def _request(self, received: Received, call: Call | None) -> None:
        """Agree to whatever the server asks for."""
        if received.method == "ACK":
            return
        if call is None or received.method not in ("INVITE", "REFER"):
            self.send(agree(received))
            if received.method == "BYE" and call is not None:
                self._end(call, "ended")
        elif received.method == "INVITE":
            self.send(call.caller.answer(received, call.rtp_port))
            self.held(call.caller.number, offered_direction(received.body) != "sendrecv")
        else:
            self.send(agree(received, "202 Accepted", extra=(f"Contact: <{call.caller.target}>",)))
            if not call.is_referred:
                call.is_referred = True
                self._notify(call, "active;expires=60", "SIP/2.0 100 Trying")
                self._notify(call, "terminated;reason=noresource", "SIP/2.0 200 OK")

    def _notify(self, call: Call, state: str, progress: str) -> None:
        call.cseq += 1
        self.send(call.caller.notify(call.contact, call.to_tag, call.cseq, state, progress))

    def _invite_response(
        self, call: Call, status: int, to_tag: str, contact: str, body: str, now: float
    ) -> None:
        if status < 200:
            if call.state == "calling":
                self._enter(call, "trying")
            return
        if status >= 300:
            self.send(call.caller.ack_refusal(to_tag))
            if call.state in ("calling", "trying"):
                call.status = status
                self.refused[status] = self.refused.get(status, 0) + 1
                self._end(call, "failed")
            return
        self.send(call.caller.ack(contact, to_tag))
        if call.state not in ("calling", "trying"):
            return
        call.setup_ms = (now - call.placed_at) * 1000
        call.status, call.to_tag, call.contact = status, to_tag, contact
        self._end(call, "up")
        address = audio_address(body)
        if address is not None:
            self.answered(call.caller.number, address)

    def expire(self, now: float) -> None:
        """Send again what was not answered in time, and give up what never was."""
        while self._timers and self._timers[0][0] <= now:
            _, number, state = heapq.heappop(self._timers)
            call = self.by_number[number]
            if call.state == "trying" and state == "calling":
                heapq.heappush(self._timers, (call.given_up_at, number, "trying"))
                continue
            if call.state != state:
                continue
            if now >= call.given_up_at:
                self.refused[0] = self.refused.get(0, 0) + 1
                self._end(call, "failed")
                continue
            self.resent += 1
            self.send(call.request)
            call.resend_s = min(call.resend_s * 2, 4.0)
            heapq.heappush(self._timers, (min(now + call.resend_s, call.given_up_at), number, state))

    def count(self, state: State) -> int:
        """Return how many calls are in a state."""
        return self.states[state]
