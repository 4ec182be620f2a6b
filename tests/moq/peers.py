"""Two MoQ sessions that talk to each other in memory, and what their hosts were told."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.support.webtransport import End, Pair
from vb.moq.objects import Object
from vb.moq.publication import Publication, Track
from vb.moq.session import MoqSession
from vb.moq.wire import Namespace

MIX = Track((b"mix",), b"audio")
MIC = Track((b"mic",), b"audio")


@dataclass
class Heard:
    """A sink that notes everything."""

    objects: list[tuple[int, int, bytes]] = field(default_factory=list)
    groups_over: list[int] = field(default_factory=list)
    sizes: dict[int, int] = field(default_factory=dict)
    unusable_objects: int = 0
    end: str | None = None

    def object(self, group: int, item: Object) -> None:
        self.objects.append((group, item.id, item.payload))

    def group_over(self, group: int, size: int = 0) -> None:
        self.groups_over.append(group)
        if size:
            self.sizes[group] = size

    def unusable(self) -> None:
        self.unusable_objects += 1

    def over(self, reason: str) -> None:
        self.end = reason


@dataclass
class Owner:
    """A host that has some tracks, and notes what it is told."""

    tracks: tuple[Track, ...] = ()
    wants: tuple[Namespace, ...] = ()
    is_ready: bool = False
    publications: list[Publication] = field(default_factory=list)
    unsubscribed_: list[Publication] = field(default_factory=list)
    announced_: list[Namespace] = field(default_factory=list)
    end: tuple[int, str] | None = None

    def ready(self) -> None:
        self.is_ready = True

    def refusal(self, track: Track) -> int | None:
        return None if track in self.tracks else 4

    def subscribed(self, publication: Publication) -> None:
        self.publications.append(publication)

    def unsubscribed(self, publication: Publication) -> None:
        self.unsubscribed_.append(publication)

    def uninterested(self, namespace: Namespace) -> int | None:
        return None if namespace in self.wants else 4

    def announced(self, namespace: Namespace) -> None:
        self.announced_.append(namespace)

    def ended(self, code: int, reason: str) -> None:
        assert self.end is None
        self.end = (code, reason)


class Talk:
    """A client and a server that are set up, unless told otherwise."""

    def __init__(self, *, opened: bool = True) -> None:
        self.pair = Pair()
        self.host = Owner((MIX,), ((b"mic",),))
        self.guest = Owner((MIC,), ((b"mix",),))
        self.server = MoqSession(self.pair.server, self.host)
        self.client = MoqSession(self.pair.client, self.guest, client=True)
        self.pair.server.receiver, self.pair.client.receiver = self.server, self.client
        if opened:
            self.client.open()
            self.pair.deliver()

    @property
    def server_end(self) -> End:
        return self.pair.server

    def say(self, data: bytes, *, fin: bool = False) -> None:
        """Let the client send bytes on its control stream."""
        self.pair.client.send(0, data, fin=fin)
        self.pair.deliver()

    def subscribed(self) -> tuple[Publication, Heard]:
        """Let the client subscribe to the mix."""
        heard = Heard()
        self.client.subscribe(MIX, heard)
        self.pair.deliver()
        return self.host.publications[-1], heard
