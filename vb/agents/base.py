"""What an agent's provider is to the server: a codec without I/O, one module for each provider.

A codec turns what the leg says into the provider's messages and the provider's messages into `AgentEvent`s.
The driver (`vb.agents.tasks.session`) owns the socket, the clock and the leg.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from vb.agents.audio import AudioFormat
from vb.codecs.pcm import Pcm
from vb.providers.failure import FailureCategory
from vb.web.message import Message

ProviderName = Literal["elevenlabs", "vapi", "pipecat", "deepgram", "ultravox"]


@dataclass(frozen=True, slots=True)
class Ready:
    """The provider's handshake is done: it hears from now on.

    Attributes:
        conversation_id: what the provider calls the conversation.
    """

    conversation_id: str


@dataclass(frozen=True, slots=True)
class Spoke:
    """The agent says something.

    Attributes:
        audio: bytes in the format that the codec names as its output.
        turn: number of the turn that it belongs to; a later turn has a higher one.
    """

    audio: bytes
    turn: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Whatever the agent has said up to a turn must not be heard any more.

    Attributes:
        turn: the last turn of which nothing is heard any more, however late it comes.
    """

    turn: int


@dataclass(frozen=True, slots=True)
class Heard:
    """What the user said, as the provider understood it."""

    text: str
    is_final: bool = True


@dataclass(frozen=True, slots=True)
class Responded:
    """What the agent says, in words."""

    text: str
    is_final: bool = True


@dataclass(frozen=True, slots=True)
class Corrected:
    """A response was cut short: what was heard of it."""

    original: str
    text: str


@dataclass(frozen=True, slots=True)
class Latency:
    """The provider tells how long parts of a turn took, in ms by name."""

    parts_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Over:
    """The conversation is over.

    Attributes:
        reason: word for clients.
        category: set when it did not end as it should.
        error: what went wrong, fit for clients.
    """

    reason: str
    category: FailureCategory | None = None
    error: str | None = None


AgentEvent: TypeAlias = Ready | Spoke | Interrupted | Heard | Responded | Corrected | Latency | Over


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One request to the provider's REST API.

    Attributes:
        method: in capitals.
        url: where; of the operator's base URL unless `foreign`.
        headers: besides those that HTTP itself needs.
        content: the body.
        foreign: the provider has named the URL, so it is judged like a client's.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """Where the conversation's WebSocket is opened.

    Attributes:
        url: ws or wss.
        headers: with the key, where the provider wants it there.
        foreign: a client or the provider has named it, so it is judged; otherwise the operator has.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    foreign: bool = False


class CannotInject(Exception):
    """The provider takes no text from outside."""


class NotReady(Exception):
    """The conversation has not begun, or what is needed for it is missing."""


class Busy(Exception):
    """Too much waits to be said already."""


class AgentCodec(Protocol):
    """One conversation with one provider.

    Attributes:
        provider: its name.
        block_ms: how much audio goes into one message: the socket is what costs, not the samples.
        hears: format of what it is sent.
        says: format of what it sends; may change when the handshake says so.
        agent_id: what the agent is called there, "" when there is no such thing.
        keep_alive_s: after so long without audio it wants a sign; None when it does not.
        interruption_ms: speech of the user that interrupts it from here; 0 leaves that to the provider.
    """

    provider: ProviderName
    block_ms: int
    hears: AudioFormat
    says: AudioFormat
    agent_id: str
    keep_alive_s: float | None
    interruption_ms: int

    def prepare(self) -> HttpCall | None:
        """Return the request that has to be made before the WebSocket is opened; None when there is none."""
        ...

    def prepared(self, status: int, body: bytes) -> Address:
        """Return where to connect, once `prepare`'s answer is there (status 0 when there was none to make).

        Raises:
            ProviderFailed: the answer leads nowhere.
        """
        ...

    def opened(self) -> Iterable[Message]:
        """Return what is sent as soon as the WebSocket is open."""
        ...

    def ready_within_s(self) -> tuple[float, bool]:
        """Return how long `Ready` may take after `opened`, and whether it is ready then all the same."""
        ...

    def timed_out(self) -> Iterable[AgentEvent]:
        """Return what follows when `Ready` did not come in time and the codec can do without."""
        ...

    def audio(self, pcm: Pcm) -> Message:
        """Return the message of one block of what the leg says, at the rate of `hears`."""
        ...

    def receive(self, message: Message) -> Iterable[AgentEvent]:
        """Return what a message of the provider means. Garbage is no event: it never raises."""
        ...

    def replies(self) -> list[Message]:
        """Return what has to be sent because of what was received; empties the list."""
        ...

    def inject(self, text: str, *, respond: bool) -> Iterable[Message] | HttpCall:
        """Return how a text gets into the conversation.

        Args:
            text: what.
            respond: whether the agent is to answer it, or only to know it.

        Raises:
            CannotInject: the provider has no way.
            NotReady: not yet.
        """
        ...

    def clear(self, played_ms: int) -> Iterable[Message]:
        """Return what tells the provider that what it has said was cut short here; a new turn begins with it.

        Args:
            played_ms: how much of the turn was heard.
        """
        ...

    def keep_alive(self) -> Iterable[Message]:
        """Return the sign that the provider wants while there is no audio."""
        ...

    def goodbye(self) -> tuple[Iterable[Message], HttpCall | None]:
        """Return what ends the conversation at the provider, so that it does not wait for a time-out."""
        ...

    def closed(self, code: int, reason: str) -> Over:
        """Return why the provider has closed the WebSocket."""
        ...
