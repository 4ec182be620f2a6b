"""Two ends of a WebTransport session in memory: what one sends, the other gets when it is delivered."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from vb.quic.session import Receiver


@dataclass
class End:
    """One end, a `Session` to whoever sits there.

    Attributes:
        client: whether it has opened the session.
        receiver: who sits there.
        streams: how many unidirectional streams it may open yet.
        stalled: whether the other end acknowledges nothing, and gets nothing.
        closes: each close, its own and the other's.
    """

    client: bool
    receiver: Receiver | None = None
    streams: int = 1_000_000
    stalled: bool = False
    closes: list[tuple[int, str]] = field(default_factory=list)
    resets: list[tuple[int, int]] = field(default_factory=list)
    stops: list[tuple[int, int]] = field(default_factory=list)
    sent: Counter[int] = field(default_factory=Counter)
    waiting: deque[tuple[int, Callable[[Receiver], None]]] = field(default_factory=deque)
    _unsent: Counter[int] = field(default_factory=Counter)
    _opened: Counter[bool] = field(default_factory=Counter)

    def open_stream(self, *, bidirectional: bool) -> int:
        if not bidirectional:
            if not self.streams:
                raise LookupError("no more streams")
            self.streams -= 1
        number = 4 * self._opened[bidirectional] + 2 * (not bidirectional) + (not self.client)
        self._opened[bidirectional] += 1
        return number

    def send(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        if self.closes:
            return
        self.sent[stream] += len(data)
        self._unsent[stream] += len(data)
        self.waiting.append((stream, lambda receiver: receiver.data(stream, data, fin=fin)))

    def reset(self, stream: int, code: int) -> None:
        self.resets.append((stream, code))
        self._unsent.pop(stream, None)
        self.waiting = deque(item for item in self.waiting if item[0] != stream)
        self.waiting.append((stream, lambda receiver: receiver.stream_reset(stream, code)))

    def stop(self, stream: int, code: int) -> None:
        self.stops.append((stream, code))
        self.waiting.append((stream, lambda receiver: receiver.stopped(stream, code)))

    def unsent(self, stream: int) -> int:
        return self._unsent[stream]

    def close(self, code: int = 0, reason: str = "") -> None:
        if not self.closes:
            self.closes.append((code, reason))
            self.waiting.append((-1, lambda receiver: receiver.closed(code, reason)))

    def deliver(self, other: End) -> bool:
        """Bring the other end what waits; says whether there was anything."""
        if self.stalled or not self.waiting:
            return False
        stream, tell = self.waiting.popleft()
        self._unsent.pop(stream, None)
        if stream == -1:
            other.closes.append(self.closes[0])
        if other.receiver is not None:
            tell(other.receiver)
        return True


class Pair:
    """Both ends."""

    def __init__(self) -> None:
        self.client = End(client=True)
        self.server = End(client=False)

    def deliver(self) -> None:
        """Deliver all that waits, and all that comes of it."""
        while self.client.deliver(self.server) or self.server.deliver(self.client):
            pass
