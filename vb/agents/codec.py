"""What codecs of agents' providers have in common; the module of each says what is its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vb.agents.audio import AudioFormat
from vb.agents.base import AgentEvent, HttpCall, Interrupted, Over, ProviderName, Ready
from vb.agents.messages import parse_object
from vb.codecs.pcm import Pcm
from vb.providers.failure import FailureCategory, ProviderFailed, category_of_status
from vb.providers.reading import shown_words
from vb.web.message import Message


class PlainCodec:
    """A conversation with a provider that wants nothing but audio, and judges interruptions itself.

    It has what the driver asks of an `AgentCodec` but `prepared`, `receive` and `inject`. What a provider
    does in another way, its codec overrides.

    Args:
        agent_id: what the agent is called there, "" when there is no such thing.
        key: in whose name; providers repeat it in what they say of failures.
    """

    provider: ProviderName
    block_ms = 60
    interruption_ms = 0
    keep_alive_s: float | None = None

    def __init__(self, agent_id: str = "", key: str = "") -> None:
        self.hears = self.says = AudioFormat()
        self.agent_id = agent_id
        self._key = key
        self._ready = False
        self._turn = 0
        self._replies: list[Message] = []

    def prepare(self) -> HttpCall | None:
        """Nothing has to be asked for before."""
        return None

    def _answered(self, status: int, body: bytes, what: str) -> Mapping[str, Any]:
        """Return the object that answers `prepare`.

        Raises:
            ProviderFailed: the status is none of a success.
        """
        if not 200 <= status < 300:
            raise ProviderFailed(category_of_status(status), f"{self.provider}: status {status} {what}")
        return parse_object(body)

    def opened(self) -> Iterable[Message]:
        """Say nothing."""
        return ()

    def ready_within_s(self) -> tuple[float, bool]:
        """Wait until the provider says so."""
        return 10.0, False

    def timed_out(self) -> Iterable[AgentEvent]:
        """Without its word there is no conversation."""
        return ()

    def _begin(self, conversation_id: str) -> Iterable[AgentEvent]:
        """Tell that the conversation has begun, once."""
        if not self._ready:
            self._ready = True
            yield Ready(conversation_id)

    def audio(self, pcm: Pcm) -> Message:
        """Write a block as it is."""
        return self.hears.encode(pcm)

    def _interrupted(self) -> Iterable[AgentEvent]:
        """Tell that the turn is over, and begin another."""
        yield Interrupted(self._turn)
        self._turn += 1

    def replies(self) -> list[Message]:
        """Return what `receive` has left to answer."""
        found, self._replies = self._replies, []
        return found

    def clear(self, played_ms: int) -> Iterable[Message]:
        """It judges interruptions itself, and has no message for those of others."""
        return ()

    def keep_alive(self) -> Iterable[Message]:
        """It wants none."""
        return ()

    def goodbye(self) -> tuple[Iterable[Message], HttpCall | None]:
        """Close the socket, which ends the conversation."""
        return (), None

    def closed(self, code: int, reason: str) -> Over:
        """Say whether it was meant."""
        if code in (1000, 1001, 1005):
            return Over("provider_closed")
        return self._broken_off("connection_lost", "retryable", code, reason)

    def _broken_off(self, why: str, category: FailureCategory, code: int, reason: str) -> Over:
        """Return the end of a conversation that the provider's close frame was."""
        return self._over(why, category, f"closed with {code} {reason}".strip())

    def _over(self, reason: str, category: FailureCategory, told: str) -> Over:
        """Return the end of a conversation for which there are words of the provider's own."""
        return Over(reason, category, shown_words(self.provider, self._key, told))
