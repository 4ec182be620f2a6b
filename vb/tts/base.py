"""What a provider of voices is: text in, audio and marks out.

A provider opens a `Session` for each target. Text is fed to it in any portions, whole or as a language
model writes it; audio comes out as fast as the provider makes it, and pacing is the player's affair. A
session lives for one utterance or for many: `finalize` closes one, and what is fed after it begins the
next. Providers that take only whole texts collect what they are fed up to `finalize`; for those that take
text as it comes, `Capabilities.streams_text` says so, and `open` is told which one is wanted.

Nothing here waits or opens sockets: that is what `vb.tts.tasks` is for.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from pydantic import SecretStr

from vb.codecs.pcm import Pcm

MAX_TEXT: Final = 20_000
"""Longest text of one utterance, in characters; providers that take less get it in pieces."""


@dataclass(frozen=True, slots=True)
class Voice:
    """How a text is to be spoken.

    Attributes:
        voice: the provider's name for a voice.
        model_id: its model or engine; "" for its default.
        language: such as en-US; "" for the voice's own.
        prompt: how it should sound, for voices that can be told.
        api_key: whose name to ask in; empty for the server's.
        rate_hz: the rate that suits the listener. A wish: what comes says its rate itself.
    """

    voice: str
    model_id: str = ""
    language: str = ""
    prompt: str = ""
    api_key: SecretStr = field(default=SecretStr(""))
    rate_hz: int = 16_000


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can do, as data: requests beyond it are refused before anything is asked.

    Attributes:
        streams_text: whether it speaks text while that is still being written.
        marks: whether it tells when which words are heard.
        prompt: whether it can be told how to sound.
        languages: codes it knows, in lower case; None for any that its voices speak.
        models: models it knows; None for any.
        live_model: the one for conversations, where none is named: quicker than its default.
        max_text: longest text of one request to it, as `measure` counts.
        measure: length of a text in its own units.
        patience_s: how long its first audio may take.
        caches: whether the same request gives audio worth keeping.
    """

    streams_text: bool = False
    marks: bool = False
    prompt: bool = False
    languages: frozenset[str] | None = None
    models: frozenset[str] | None = None
    live_model: str = ""
    max_text: int = MAX_TEXT
    measure: Callable[[str], int] = len
    patience_s: float = 4.0
    caches: bool = True


@dataclass(frozen=True, slots=True)
class Audio:
    """A piece of an utterance: mono int16 samples.

    Attributes:
        pcm: any number of them.
        rate_hz: 8000 to 48000, as the provider's answer says; the same for a whole utterance.
    """

    pcm: Pcm
    rate_hz: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A part of the text and when it is heard.

    Attributes:
        text: as it was fed.
        start_ms: when it begins, counted from the first sample of its utterance.
        end_ms: when it ends.
    """

    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Done:
    """Everything that was fed up to a `finalize` has come out."""


Spoken: TypeAlias = Audio | Mark | Done
"""What comes out of a session."""


class Session(Protocol):
    """A conversation with a provider about one target's voice; `Provider.open` opens and closes it.

    One task may feed while another receives. Cancelling either leaves the session fit to be closed only.
    """

    @property
    def is_over(self) -> bool:
        """Whether it is known to be of no more use, so that a new one is to be opened."""
        ...

    async def feed(self, text: str) -> None:
        """Give the next portion of text.

        Raises:
            ProviderFailed: the provider is gone.
        """
        ...

    async def finalize(self) -> None:
        """Say that the utterance is complete: all of it is spoken now, and `Done` follows.

        Raises:
            ProviderFailed: the provider is gone.
        """
        ...

    async def clear(self) -> None:
        """Drop what was fed and not yet received, as somebody interrupts; no `Done` follows it.

        What is fed from then on begins a new utterance, and nothing of the old one comes out any more,
        however late the provider sends it. Somebody who waits in `receive` goes on waiting, for the new.

        Raises:
            ProviderFailed: the provider is gone.
        """
        ...

    async def receive(self) -> Spoken:
        """Return what comes next, in order.

        Raises:
            ProviderFailed: it failed, with a category; the session is of no more use.
        """
        ...


class Provider(Protocol):
    """A service that has voices.

    Attributes:
        name: as requests and events call it.
        capabilities: what it can do.
    """

    @property
    def name(self) -> str:
        """Return its name in requests."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """Return what it can do."""
        ...

    def check(self, voice: Voice) -> Voice:
        """Return a voice with the provider's defaults filled in; it is what the cache knows it by.

        Only what capabilities cannot say is looked at here, without asking anybody.

        Raises:
            BadRequest: the provider can never speak like that.
            Unavailable: there is no key, or what speaks is not set up or busy.
        """
        ...

    def open(self, voice: Voice, *, streamed: bool = False) -> AbstractAsyncContextManager[Session]:
        """Open a session; leaving the block closes it, whatever is on its way.

        Args:
            voice: as `check` returned it.
            streamed: text comes bit by bit and should be heard early; only for those who can.

        Raises:
            ProviderFailed: there is no way to the provider.
        """
        ...
