"""Providers that are asked by HTTP: a codec computes the request for a text and reads the answer.

The driver, `vb.tts.tasks.asking`, sends it, tries again where that is worth it, and keeps what is slow or
broken away from calls. A provider by HTTP is therefore one module without I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol

from pydantic import SecretStr

from vb.errors import Unavailable
from vb.providers.failure import FailureCategory, ProviderFailed, category_of_status
from vb.storage.sigv4 import Credentials
from vb.tts.base import Capabilities, Voice

RATE_HZ: Final = 16_000
"""What providers are asked for; what they answer is read from the answer."""
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it is to be sent; its URL and headers hold secrets."""

    method: str
    url: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    content: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A short answer, with its header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)


class Outside(Protocol):
    """What a codec may need besides the text: the time, files, and answers of other services."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        ...

    async def ask(self, request: HttpRequest) -> HttpAnswer:
        """Send a request and return its answer, whatever its status.

        Raises:
            ProviderFailed: there is none.
        """
        ...

    async def read_file(self, path: str) -> bytes:
        """Return what a file of the operator holds.

        Raises:
            ProviderFailed: it cannot be read.
        """
        ...

    async def credentials(self) -> Credentials:
        """Return the machine's own credentials for Amazon.

        Raises:
            ProviderFailed: there are none.
        """
        ...


class Body(Protocol):
    """Takes the audio out of an answer's body while it arrives."""

    def content_type(self, answered: str) -> str:
        """Return the type of the audio, given that of the answer; "" where that does not say it."""
        ...

    def feed(self, data: bytes) -> bytes:
        """Return the audio in the next bytes.

        Raises:
            ProviderFailed: the body is not what it should be.
        """
        ...

    def finish(self) -> None:
        """Say that the body is complete.

        Raises:
            ProviderFailed: it cannot be.
        """
        ...


class PlainBody:
    """A body that is audio and nothing else."""

    def content_type(self, answered: str) -> str:
        """Return the type of the answer."""
        return answered

    def feed(self, data: bytes) -> bytes:
        """Return the bytes as they are."""
        return data

    def finish(self) -> None:
        """Accept any end."""


class HttpVoices(Protocol):
    """The codec of one provider."""

    @property
    def name(self) -> str:
        """Return its name in requests."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """Return what it can do."""
        ...

    def check(self, voice: Voice) -> Voice:
        """Fill in defaults, as `vb.tts.base.Provider.check` has it."""
        ...

    async def request(self, text: str, voice: Voice, outside: Outside) -> HttpRequest:
        """Return the request that has a text spoken.

        Args:
            text: no longer than `Capabilities.max_text`.
            voice: as `check` returned it.
            outside: the time, files, other services.

        Raises:
            ProviderFailed: something that it needs besides cannot be had.
        """
        ...

    def body(self) -> Body:
        """Return what reads the body of an answer."""
        ...

    def failure(self, answer: HttpAnswer) -> ProviderFailed:
        """Return what an answer without success means."""
        ...


def with_key(voice: Voice, own: SecretStr, provider: str) -> Voice:
    """Return a voice with the server's own key, where the request brings none.

    Args:
        voice: as it was asked for.
        own: the server's key; empty for none.
        provider: what the service calls itself.

    Raises:
        Unavailable: there is no key.
    """
    key = voice.api_key if voice.api_key.get_secret_value() else own
    if not key.get_secret_value():
        raise Unavailable(f"no {provider} API key provided")
    return replace(voice, api_key=key)


def refused(
    provider: str, status: int, code: object = None, category: FailureCategory | None = None
) -> ProviderFailed:
    """Return the failure of an answer without success.

    Args:
        provider: name of it.
        status: HTTP status.
        code: the provider's own name of the error; shown if it is a word, for texts may repeat secrets.
        category: what is to be done; None for what the status says.
    """
    shown = f" ({code})" if isinstance(code, str) and _CODE.fullmatch(code) else ""
    return ProviderFailed(category or category_of_status(status), f"{provider}: status {status}{shown}")
