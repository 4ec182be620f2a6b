"""What a provider of transcripts is: audio in, words out.

A provider opens a `Session` for each leg that is listened to. Audio is sent to it in blocks of the length
that `Capabilities` name; partial and final transcripts and turns come out. Taps, queues, reconnecting and
events are the business of `vb.stt.tasks` and the same for all: a session that fails says so once, with a
category, and is of no more use.

Most providers are reached over a WebSocket. Such a one is a `Codec`, which has no I/O, in a module of its
own; `vb.stt.tasks.websocket` makes a `Provider` of it. One that is none, such as an engine on this machine,
implements `Provider` and `Session` itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeAlias

from pydantic import SecretStr

from vb.codecs.pcm import Pcm
from vb.providers.failure import FailureCategory
from vb.web.message import Message

RATE_HZ: Final = 16_000
"""Rate of the audio that every provider takes."""

TurnEvent = Literal[
    "start_of_turn", "update", "eager_end_of_turn", "turn_resumed", "end_of_turn", "utterance_end"
]


@dataclass(frozen=True, slots=True)
class Options:
    """How somebody is to be listened to.

    Attributes:
        language: such as en or en-US; "" for the provider's default.
        partial: whether partial transcripts are wanted; a provider may give them all the same.
        model: its model; "" for its default.
        keyterms: words that are likely to come.
        endpointing_ms: silence after which a provider makes what was said final.
        utterance_end_ms: gap between words after which an utterance has ended.
        eot_threshold: how sure a provider must be that a turn has ended.
        eager_eot_threshold: how sure it must be that a turn may have ended.
        eot_timeout_ms: silence after which a turn has ended anyway.
        language_hints: languages that are likely to be spoken.
        api_key: whose name to ask in; empty for the server's.
    """

    language: str = ""
    partial: bool = False
    model: str = ""
    keyterms: tuple[str, ...] = ()
    endpointing_ms: int | None = None
    utterance_end_ms: int | None = None
    eot_threshold: float | None = None
    eager_eot_threshold: float | None = None
    eot_timeout_ms: int | None = None
    language_hints: tuple[str, ...] = ()
    api_key: SecretStr = field(default=SecretStr(""))


@dataclass(frozen=True, slots=True)
class Range:
    """Which numbers an option may have; both ends belong to it."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can do, as data: requests beyond it are refused before anything is asked.

    Attributes:
        block_ms: length of the blocks of audio that it likes; a multiple of 20.
        finalize: whether it can be told to make what it has heard final at once.
        options: the fields of `Options` that it knows besides `language`, `partial` and `api_key`.
        ranges: numbers that an option may have, by field.
        languages: codes it knows, in lower case; None for any.
        models: models it knows; None for any.
        max_keyterms: how many key terms it takes.
        max_keyterm_chars: how long each may be.
        keep_alive_s: without audio for so long it is told that more will come.
        turns: whether it makes words final when a turn is over, and not before.
    """

    block_ms: int = 40
    finalize: bool = False
    options: frozenset[str] = frozenset()
    ranges: Mapping[str, Range] = field(default_factory=dict)
    languages: frozenset[str] | None = None
    models: frozenset[str] | None = None
    max_keyterms: int = 100
    max_keyterm_chars: int = 100
    keep_alive_s: float = 5.0
    turns: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """One word and when it was said, counted from the first sample of its session."""

    word: str
    confidence: float
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class PartialText:
    """What seems to be said since the last `FinalText`; the next one replaces it.

    Attributes:
        text: never empty.
        start_ms: when it begins, counted from the first sample of the session; None if nobody knows.
        end_ms: when it ends.
    """

    text: str
    start_ms: int | None = None
    end_ms: int | None = None

    def as_final(self) -> FinalText:
        """Return it as what was said, as far as anybody will know: its session is over."""
        return FinalText(self.text, None, self.start_ms, self.end_ms)


@dataclass(frozen=True, slots=True)
class FinalText:
    """What was said, and will not change any more.

    Attributes:
        text: what was said; empty when what seemed to be said was nothing.
        speech_final: whether the speaker has paused; None if the provider does not say.
        start_ms: when it begins, counted from the first sample of the session; None if nobody knows.
        end_ms: when it ends.
    """

    text: str
    speech_final: bool | None = None
    start_ms: int | None = None
    end_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """What a provider says of whose turn it is; times count from the first sample of the session."""

    event: TurnEvent
    turn_index: int | None = None
    text: str | None = None
    end_of_turn_confidence: float | None = None
    audio_window_start_ms: int | None = None
    audio_window_end_ms: int | None = None
    last_word_end_ms: int | None = None
    words: tuple[Word, ...] = ()
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """What a codec has read is a failure; its connection is of no more use.

    Attributes:
        category: what can be done about it; those of `WORTH_A_RETRY` lead to another connection.
        text: fit for clients: no key, URL or transcript.
    """

    category: FailureCategory
    text: str


Heard: TypeAlias = PartialText | FinalText | Turn
"""What comes out of a session."""


class Session(Protocol):
    """A conversation with a provider about one leg; `Provider.open` opens and closes it.

    One task sends while another receives. Cancelling either leaves the session fit to be closed only. Every
    method but `receive` may raise `ProviderFailed` when the provider is gone.
    """

    @property
    def unheard_samples(self) -> int:
        """Return how many of the newest samples sent the provider cannot have heard.

        Asked once the session has failed: these are sent again to the next one, five seconds of them at most.
        """
        ...

    @property
    def ready(self) -> bool:
        """Return whether a block can be sent without a wait, with nothing before it that waits."""
        ...

    def put(self, pcm: Pcm) -> None:
        """Send a block at once, which is `ready` for it."""
        ...

    async def send(self, pcm: Pcm) -> None:
        """Send audio, a block or what is left of one at an end; waits while the provider is slow."""
        ...

    async def finalize(self) -> None:
        """Ask for a `FinalText` of what was sent up to now."""
        ...

    async def keep_alive(self) -> None:
        """Say that audio will come again; only after a silence of `Capabilities.keep_alive_s`."""
        ...

    async def finish(self) -> None:
        """Say that no audio will come; the last transcripts are received, and None."""
        ...

    async def receive(self) -> Sequence[Heard] | None:
        """Wait for what was heard and return it; None when nothing comes any more after `finish`.

        Raises:
            ProviderFailed: the session has failed, with a category.
        """
        ...


class Provider(Protocol):
    """A service that listens."""

    @property
    def name(self) -> str:
        """Return its name in requests."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """Return what it can do."""
        ...

    def check_ready(self, options: Options) -> None:
        """Refuse to listen where something is missing; asked before the request is looked at any further.

        Raises:
            Unavailable: there is no key, or what listens is not set up or busy.
            NotAvailable: what listens is not installed.
        """
        ...

    def check(self, options: Options) -> None:
        """Refuse what `Capabilities` cannot say; nobody is asked.

        Raises:
            BadRequest: the provider can never listen like that.
        """
        ...

    def open(self, options: Options) -> AbstractAsyncContextManager[Session]:
        """Open a session that is ready for audio; leaving the block closes it, within a second.

        Raises:
            ProviderFailed: there is no way to the provider.
        """
        ...


@dataclass(frozen=True, slots=True)
class Dial:
    """Where a connection leads.

    Attributes:
        url: a ws or wss URL.
        headers: besides those of the handshake; they may hold keys.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


Read: TypeAlias = Heard | Failed
"""What a codec reads in a message."""


class Codec(Protocol):
    """A provider's messages over one WebSocket, without the socket.

    Attributes:
        ready: whether audio may be sent; some providers say something first.
        over: whether the provider has said its last after `finish`.
    """

    ready: bool
    over: bool

    def dial(self) -> Dial:
        """Return where to connect to."""
        ...

    def begin(self) -> list[Message]:
        """Return what is sent as soon as the connection is open."""
        ...

    def audio(self, pcm: Pcm) -> list[Message]:
        """Return messages with audio."""
        ...

    def finalize(self) -> list[Message]:
        """Return what asks for a `FinalText` now; never called where capabilities have no `finalize`."""
        ...

    def keep_alive(self) -> list[Message]:
        """Return what says that audio will come again."""
        ...

    def finish(self) -> list[Message]:
        """Return what says that no audio will come."""
        ...

    def receive(self, message: Message) -> list[Read]:
        """Read a message; what makes no sense is a `Failed`, what is unknown is nothing."""
        ...

    def closed(self, code: int, reason: str) -> Failed:
        """Judge why the provider has closed the connection, by itself and without a `Failed` before."""
        ...


def takes_all(options: Options) -> None:
    """Refuse nothing besides what capabilities say."""


@dataclass(frozen=True, slots=True)
class Stamps:
    """What some codecs put on their messages, so that they need neither clock nor chance.

    Attributes:
        new_id: gives 32 hex digits that nobody had before.
        utc_now: gives the time as RFC 3339.
    """

    new_id: Callable[[], str]
    utc_now: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Service:
    """A provider over a WebSocket: all that its module says of it.

    Attributes:
        name: in requests.
        capabilities: what it can do.
        key: the server's own; empty for none.
        codec: makes the codec of a connection from options, a key and stamps.
        check: refuses what capabilities cannot say, as `Provider.check` does.
    """

    name: str
    capabilities: Capabilities
    key: SecretStr
    codec: Callable[[Options, str, Stamps], Codec]
    check: Callable[[Options], None] = takes_all
