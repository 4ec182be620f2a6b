"""One conversation between a leg or room and an agent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

import trio

from vb.agents.audio import Ears, Mouth
from vb.agents.barge_in import BargeIn
from vb.agents.base import (
    Address,
    AgentCodec,
    AgentEvent,
    Corrected,
    Heard,
    HttpCall,
    Interrupted,
    Latency,
    NotReady,
    Over,
    Ready,
    Responded,
    Spoke,
)
from vb.agents.seats import Seat
from vb.agents.tasks.farewells import Farewells
from vb.codecs.pcm import Pcm
from vb.events.agent import (
    AgentConnected,
    AgentDisconnected,
    AgentInterrupted,
    AgentLatency,
    AgentResponse,
    AgentResponseCorrected,
    AgentUserTranscript,
)
from vb.mixer.frames import FrameSink
from vb.owner import Owner
from vb.providers.failure import ProviderFailed, category_of_status
from vb.web.errors import WebError, WebSocketClosed
from vb.web.failures import provider_failure
from vb.web.message import Message
from vb.web.policy import WEBSOCKET, parse_url
from vb.web.tasks.client import WebClient
from vb.web.tasks.websocket import Pace, WebSocket, connect_websocket
from vb.web.websocket import Opening

REQUEST_S: Final = 10.0
"""How long a request to a provider's REST API may take."""
ABANDON_S: Final = 1.0
MAX_ANSWER_BYTES: Final = 262_144
MAX_MESSAGE_BYTES: Final = 4 * 1_048_576
"""Providers send whole replies in one message; a longer one ends the conversation."""
SILENCE_S: Final = 60.0
"""A provider of which nothing comes for so long, not even an answer to a ping, is gone."""
CLEAR_S: Final = 1.0
"""What a provider says for so long after it was interrupted from here is the rest of what was cut."""
_PACE: Final = Pace(open_s=10.0, send_s=5.0, ping_s=SILENCE_S / 2, pong_s=SILENCE_S / 2)


class Sessions(Protocol):
    """Who counts what conversations do."""

    def lost(self, what: str, milliseconds: float) -> None:
        """Count dropped audio: `upstream`, the provider takes too little; `downstream`, it sends too much."""
        ...


class Session:
    """The task of one agent.

    Args:
        owner: the leg or room.
        seat: where the agent hears and speaks.
        codec: what its provider speaks.
        web: the way out.
        farewells: say goodbye to providers when the conversation is over for the owner.
        sessions: counts what is lost.
    """

    def __init__(
        self,
        owner: Owner,
        seat: Seat,
        codec: AgentCodec,
        *,
        web: WebClient,
        farewells: Farewells,
        sessions: Sessions,
    ) -> None:
        self.owner = owner
        self.codec = codec
        self.over = False
        self.why = ""
        self.conversation_id: str | None = None
        self._seat = seat
        self._web = web
        self._farewells = farewells
        self._sessions = sessions
        self._mouth = Mouth(codec.says)
        self._websocket: WebSocket | None = None
        self._ready = trio.Event()
        self._sent_at = 0.0
        self._newest = 0
        self._cut = -1
        self._cut_until = 0.0
        self._end: Over | None = None
        self._stop_receiving: Callable[[], object] = _nothing

    @property
    def provider(self) -> str:
        """Return where the agent runs."""
        return self.codec.provider

    # -- the conversation ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Converse until it is over, and say so.

        Cancellation: the agent is silent at once; its provider is told goodbye in a task of its own.
        """
        end = Over("internal_error")
        try:
            end = await self._converse()
        except trio.Cancelled:
            end = Over("stopped")
            raise
        except (ProviderFailed, WebError) as problem:
            end = self._failed(problem)
        finally:
            self.over = True
            self._mouth.shut()
            self._seat.leave()
            reason = self.why or self._seat.why_over or end.reason
            self.owner.tell(
                AgentDisconnected,
                reason=reason,
                category=end.category,
                error=end.error,
                conversation_id=self.conversation_id or None,
                provider=self.codec.provider,
            )
            left = self._part()
            if left is not None:
                with trio.move_on_after(ABANDON_S, shield=True):
                    await left.abandon()

    def _part(self) -> WebSocket | None:
        """Let the provider go in a task of its own, for which the owner does not wait.

        Returns:
            Its WebSocket when there is nobody who would say goodbye.
        """
        websocket, self._websocket = self._websocket, None
        if websocket is None:
            return None
        messages, call = self.codec.goodbye() if self._ready.is_set() else ((), None)
        return None if self._farewells.add(websocket, messages, call) else websocket

    async def _converse(self) -> Over:
        address = await self._prepare()
        opening = Opening(
            parse_url(address.url, schemes=WEBSOCKET),
            headers=address.headers,
            max_message_bytes=MAX_MESSAGE_BYTES,
        )
        async with trio.open_nursery() as nursery:
            try:
                self._websocket = websocket = await connect_websocket(
                    nursery, self._web, opening, trusted=not address.foreign, pace=_PACE
                )
                nursery.start_soon(self._await_ready)
                self._send(self.codec.opened())
                end = await self._receive(websocket)
            except WebError as problem:  # a nursery would wrap it up
                end = self._failed(problem)
            finally:
                nursery.cancel_scope.cancel()
        return end

    def _failed(self, problem: ProviderFailed | WebError) -> Over:
        if isinstance(problem, WebError):
            problem = provider_failure(self.codec.provider, problem)
        return Over("failed", problem.category, str(problem))

    async def _prepare(self) -> Address:
        call = self.codec.prepare()
        if call is None:
            return self.codec.prepared(0, b"")
        return self.codec.prepared(*await self._ask(call))

    async def _ask(self, call: HttpCall) -> tuple[int, bytes]:
        return await self._web.ask(
            call.method,
            call.url,
            within_s=REQUEST_S,
            max_bytes=MAX_ANSWER_BYTES,
            headers=call.headers,
            content=call.content,
            trusted=not call.foreign,
        )

    async def _await_ready(self) -> None:
        """Bound the handshake, then keep a provider awake that wants to be while there is no audio."""
        within_s, enough = self.codec.ready_within_s()
        with trio.move_on_after(within_s):
            await self._ready.wait()
        if not self._ready.is_set():
            if not enough:
                self._end = Over(
                    "failed", "retryable", f"{self.codec.provider}: not ready within {within_s:g} s"
                )
                self._stop_receiving()
                return
            self._take_all(self.codec.timed_out())
        every_s = self.codec.keep_alive_s
        while every_s is not None:
            await trio.sleep_until(self._sent_at + every_s)
            if trio.current_time() >= self._sent_at + every_s:
                self._send(self.codec.keep_alive())
                self._sent_at = trio.current_time()

    async def _receive(self, websocket: WebSocket) -> Over:
        with trio.CancelScope() as scope:
            self._stop_receiving = scope.cancel
            while self._end is None:
                try:
                    messages = await websocket.receive()
                except WebSocketClosed as closed:
                    return self.codec.closed(closed.code, closed.reason)
                for message in messages:
                    self._take_all(self.codec.receive(message))
                self._send(self.codec.replies())
        return self._end or Over("stopped")

    def fail(self) -> None:
        """End the conversation because its audio failed here."""
        self._end = Over("internal_error", "unknown", "the agent's audio failed")
        self._stop_receiving()

    # -- what the provider says ----------------------------------------------------------------------------

    def _take_all(self, events: Iterable[AgentEvent]) -> None:
        for event in events:
            self._take(event)

    def _take(self, event: AgentEvent) -> None:
        tell = self.owner.tell
        match event:
            case Spoke(audio, turn):
                if trio.current_time() < self._cut_until:
                    turn = self._cut
                self._newest = max(self._newest, turn)
                if self.codec.says is not self._mouth.audio_format:
                    self._mouth.reformat(self.codec.says)
                before_ms = self._mouth.dropped_ms
                if not self._mouth.put(audio, turn) and self._mouth.dropped_ms > before_ms:
                    self._sessions.lost("downstream", self._mouth.dropped_ms - before_ms)
            case Interrupted(turn):
                self._cut_until = 0.0
                if self._mouth.interrupt(turn):
                    played_ms = self._mouth.played_ms if self._mouth.turn <= turn else 0
                    tell(AgentInterrupted, turn=turn, played_ms=played_ms)
            case Heard(text, is_final):
                tell(AgentUserTranscript, text=text, is_final=is_final)
            case Responded(text, is_final):
                tell(AgentResponse, text=text, is_final=is_final)
            case Corrected(original, text):
                tell(AgentResponseCorrected, original=original, text=text)
            case Latency(parts_ms):
                tell(AgentLatency, parts_ms=dict(parts_ms))
            case Ready(conversation_id):
                self._begin(conversation_id)
            case Over():
                self._end = event
                self._stop_receiving()

    def _begin(self, conversation_id: str) -> None:
        self.conversation_id = conversation_id
        self._mouth.reformat(self.codec.says)
        ears: FrameSink = Ears(self.codec.hears.rate_hz, self.codec.block_ms, self._hear)
        if self.codec.interruption_ms:
            ears = BargeIn(ears, self._mouth, self.codec.interruption_ms, self._interrupt)
        self._sent_at = trio.current_time()
        self._ready.set()
        self.owner.tell(
            AgentConnected,
            conversation_id=conversation_id,
            provider=self.codec.provider,
            agent_id=self.codec.agent_id or None,
        )
        self._seat.take(self._mouth, ears)

    # -- what it is told -----------------------------------------------------------------------------------

    def _hear(self, block: Pcm) -> None:
        """Send a block on, inside the tick."""
        websocket = self._websocket
        if websocket is None:
            return
        if websocket.put(self.codec.audio(block)):
            self._sent_at = trio.current_time()
        else:
            self._sessions.lost("upstream", block.size * 1000 / self.codec.hears.rate_hz)

    def _interrupt(self) -> None:
        """Cut the agent short because the user speaks, inside the tick.

        What the provider sends before it knows belongs to the turn that was cut, until it says that it knows.
        """
        turn, played_ms = self._newest, self._mouth.played_ms
        self._cut, self._cut_until = turn, trio.current_time() + CLEAR_S
        self._mouth.interrupt(turn)
        self._send(self.codec.clear(played_ms))
        self.owner.tell(AgentInterrupted, turn=turn, played_ms=played_ms)

    def _send(self, messages: Iterable[Message]) -> None:
        found = list(messages)
        if found and self._websocket is not None:
            self._websocket.put(*found)

    async def inject(self, text: str, *, respond: bool) -> None:
        """Put a text into the conversation.

        Raises:
            CannotInject: the provider takes none.
            NotReady: not yet.
            ProviderFailed: it refuses it.
        """
        way = self.codec.inject(text, respond=respond)
        if isinstance(way, HttpCall):
            try:
                status, _ = await self._ask(way)
            except WebError as error:
                raise provider_failure(self.codec.provider, error) from None
            if not 200 <= status < 300:
                raise ProviderFailed(
                    category_of_status(status), f"{self.codec.provider}: status {status} for the message"
                )
            return
        if self._websocket is None or not self._websocket.put(*way):
            raise NotReady


def _nothing() -> None:
    """Stand in for the end of a reception that has not begun."""
