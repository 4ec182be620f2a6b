"""What codecs need besides the text, as a test says."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import SecretStr

from vb.providers.failure import ProviderFailed
from vb.storage.sigv4 import Credentials
from vb.tts.base import Voice
from vb.tts.http import HttpAnswer, HttpRequest

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@dataclass
class FakeOutside:
    """Answers, files and a clock."""

    time: datetime = NOW
    files: dict[str, bytes] = field(default_factory=dict)
    answers: list[HttpAnswer] = field(default_factory=list)
    asked: list[HttpRequest] = field(default_factory=list)
    own: Credentials | None = None

    def now(self) -> datetime:
        return self.time

    async def ask(self, request: HttpRequest) -> HttpAnswer:
        self.asked.append(request)
        return self.answers.pop(0)

    async def read_file(self, path: str) -> bytes:
        if path not in self.files:
            raise ProviderFailed("permanent_auth", "no file")
        return self.files[path]

    async def credentials(self) -> Credentials:
        if self.own is None:
            raise ProviderFailed("permanent_auth", "none")
        return self.own


def voice(name: str, *, api_key: str = "k-1", **more: str) -> Voice:
    return Voice(name, api_key=SecretStr(api_key), **more)  # type: ignore[arg-type]  # text fields
