"""All calls of the generator: placed, answered, hung up; bytes and time in, bytes out."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from bench.load.sip import Caller, agree, audio_address, read_message

T1_S: Final = 0.5
GIVE_UP_S: Final = 32.0

State = Literal["calling", "trying", "up", "ending", "ended", "failed"]


@dataclass(slots=True)
class Call:
    """One call and where it stands."""

    caller: Caller
    request: bytes
    placed_at: float
    state: State = "calling"
    setup_ms: float | None = None
    status: int = 0
    to_tag: str = ""
    contact: str = ""
    resend_s: float = T1_S
    given_up_at: float = 0.0


@dataclass(slots=True)
class Calls:
    """A caller with many calls on one socket.

    Args:
        send: takes every datagram for the server.
        answered: told the number and the audio address of every answered call.
    """

    send: Callable[[bytes], object]
    answered: Callable[[int, tuple[str, int]], None]
    by_number: dict[int, Call] = field(default_factory=dict)
    resent: int = 0
    refused: dict[int, int] = field(default_factory=dict)
    unfinished: set[int] = field(default_factory=set)
    _timers: list[tuple[float, int, State]] = field(default_factory=list)

    def place(self, caller: Caller, rtp_port: int, now: float) -> None:
        """Send the INVITE of a new call."""
        call = Call(caller, caller.invite(rtp_port), now, given_up_at=now + GIVE_UP_S)
        self.by_number[caller.number] = call
        self._begin(call, "calling", now)

    def hang_up(self, number: int, now: float) -> None:
        """Send BYE if the call is up."""
        call = self.by_number[number]
        if call.state == "up":
            call.request = call.caller.bye(call.contact, call.to_tag)
            call.resend_s, call.given_up_at = T1_S, now + GIVE_UP_S
            self._begin(call, "ending", now)

    def _begin(self, call: Call, state: State, now: float) -> None:
        call.state = state
        self.unfinished.add(call.caller.number)
        self.send(call.request)
        heapq.heappush(self._timers, (now + call.resend_s, call.caller.number, state))

    def _end(self, call: Call, state: State) -> None:
        call.state = state
        self.unfinished.discard(call.caller.number)

    def receive(self, data: bytes, now: float) -> None:
        """Take a datagram from the server."""
        received = read_message(data)
        if received is None:
            return
        number = received.header("call-id").partition("-")[0]
        call = self.by_number.get(int(number)) if number.isdigit() else None
        if received.status == 0:
            if received.method != "ACK":
                self.send(agree(received))
            if received.method == "BYE" and call is not None:
                self._end(call, "ended")
            return
        if call is None or call.caller.call_id != received.header("call-id"):
            return
        if received.method == "BYE" and received.status >= 200:
            self._end(call, "ended")
        elif received.method == "INVITE":
            self._invite_response(
                call, received.status, received.to_tag, received.contact, received.body, now
            )

    def _invite_response(
        self, call: Call, status: int, to_tag: str, contact: str, body: str, now: float
    ) -> None:
        if status < 200:
            if call.state == "calling":
                call.state = "trying"
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
        return sum(call.state == state for call in self.by_number.values())
