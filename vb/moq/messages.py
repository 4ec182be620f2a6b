"""Control messages: one class each, whose fields say how they stand on the wire.

Spec: draft-ietf-moq-transport-11 section 8.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, Self, get_type_hints

from vb.moq.codes import violation
from vb.moq.fields import (
    ASCENDING,
    LATEST,
    PUBLISHERS_ORDER,
    USUAL_PRIORITY,
    Byte,
    ChosenOrder,
    Fetched,
    Flag,
    Largest,
    Name,
    Named,
    Number,
    Order,
    Place,
    Reason,
    RequestParameters,
    SetupParameters,
    Uri,
    Versions,
    Wanted,
)
from vb.moq.wire import MAX_NAME_BYTES, Coding, Incomplete, Namespace, Reader
from vb.quic.varint import varint

MAX_PAYLOAD_BYTES: Final = 65_535


_CODINGS: Final[dict[type[Message], tuple[tuple[str, Coding[Any]], ...]]] = {}


def _codings(kind: type[Message]) -> tuple[tuple[str, Coding[Any]], ...]:
    """Return the fields of a message and how each stands on the wire, as its annotation says."""
    found = _CODINGS.get(kind)
    if found is None:
        hints = get_type_hints(kind, include_extras=True)
        names = [one.name for one in fields(kind)]
        found = _CODINGS[kind] = tuple((name, hints[name].__metadata__[0]) for name in names)
    return found


@dataclass(frozen=True, slots=True)
class Message:
    """A control message.

    Attributes:
        TYPE: its number.
    """

    TYPE: ClassVar[int] = -1

    def encode(self) -> bytes:
        """Return it with its type and length.

        Raises:
            ValueError: it is longer than a message may be.
        """
        payload = b"".join(coding.write(getattr(self, name)) for name, coding in _codings(type(self)))
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise ValueError(f"a message of {len(payload)} bytes")
        return varint(self.TYPE) + len(payload).to_bytes(2) + payload

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Return what a payload says.

        Raises:
            MoqError: it cannot be read, or is shorter or longer than what it says.
        """
        reader = Reader(payload)
        try:
            message = cls(**{name: coding.read(reader) for name, coding in _codings(cls)})
        except Incomplete:
            raise violation(f"message {cls.TYPE:#x} is cut off") from None
        if reader.left:
            raise violation(f"message {cls.TYPE:#x} has bytes to spare")
        return message


@dataclass(frozen=True, slots=True)
class ClientSetup(Message):
    """What a client speaks (section 8.3)."""

    TYPE = 0x20
    versions: Versions
    parameters: SetupParameters = ()


@dataclass(frozen=True, slots=True)
class ServerSetup(Message):
    """What a server chose of it."""

    TYPE = 0x21
    version: Number
    parameters: SetupParameters = ()


@dataclass(frozen=True, slots=True)
class Goaway(Message):
    """The sender will end the session soon."""

    TYPE = 0x10
    uri: Uri = b""


@dataclass(frozen=True, slots=True)
class MaxRequestId(Message):
    """The receiver may use request ids below this one."""

    TYPE = 0x15
    request_id: Number


@dataclass(frozen=True, slots=True)
class RequestsBlocked(Message):
    """The sender has more requests than it may make."""

    TYPE = 0x1A
    maximum: Number


@dataclass(frozen=True, slots=True)
class Subscribe(Message):
    """The sender wants the new objects of a track."""

    TYPE = 0x3
    request_id: Number
    alias: Number
    namespace: Named
    name: Name
    priority: Byte = USUAL_PRIORITY
    order: Order = PUBLISHERS_ORDER
    forward: Flag = True
    filter: Wanted = LATEST
    parameters: RequestParameters = ()


@dataclass(frozen=True, slots=True)
class SubscribeOk(Message):
    """A subscription stands; `largest` is where the track has come to, None while it has no object."""

    TYPE = 0x4
    request_id: Number
    expires_ms: Number = 0
    order: ChosenOrder = ASCENDING
    largest: Largest = None
    parameters: RequestParameters = ()


@dataclass(frozen=True, slots=True)
class SubscribeError(Message):
    """A subscription is refused."""

    TYPE = 0x5
    request_id: Number
    code: Number
    reason: Reason
    alias: Number


@dataclass(frozen=True, slots=True)
class SubscribeUpdate(Message):
    """A subscription becomes narrower; `end_group` is the first group that is not wanted, 0 for none."""

    TYPE = 0x2
    request_id: Number
    start: Place
    end_group: Number
    priority: Byte = USUAL_PRIORITY
    forward: Flag = True
    parameters: RequestParameters = ()


@dataclass(frozen=True, slots=True)
class Unsubscribe(Message):
    """The subscriber wants no more of it."""

    TYPE = 0xA
    request_id: Number


@dataclass(frozen=True, slots=True)
class SubscribeDone(Message):
    """Nothing more comes for a subscription; `streams` were opened for it."""

    TYPE = 0xB
    request_id: Number
    code: Number
    streams: Number
    reason: Reason = ""


@dataclass(frozen=True, slots=True)
class Fetch(Message):
    """The sender wants objects that exist already."""

    TYPE = 0x16
    request_id: Number
    priority: Byte
    order: Order
    fetched: Fetched
    parameters: RequestParameters = ()


@dataclass(frozen=True, slots=True)
class FetchOk(Message):
    """They will come."""

    TYPE = 0x18
    request_id: Number
    order: ChosenOrder
    end_of_track: Flag
    end: Place
    parameters: RequestParameters = ()


@dataclass(frozen=True, slots=True)
class _Refused(Message):
    """A request is refused."""

    request_id: Number
    code: Number
    reason: Reason


@dataclass(frozen=True, slots=True)
class FetchError(_Refused):
    """They will not."""

    TYPE = 0x19


@dataclass(frozen=True, slots=True)
class FetchCancel(Message):
    """The sender wants them no more."""

    TYPE = 0x17
    request_id: Number


@dataclass(frozen=True, slots=True)
class TrackStatusRequest(Message):
    """The sender wants to know about a track."""

    TYPE = 0xD
    request_id: Number
    namespace: Named
    name: Name
    parameters: RequestParameters = ()


@dataclass(frozen=True, slots=True)
class TrackStatus(Message):
    """What is known of it."""

    TYPE = 0xE
    request_id: Number
    code: Number
    largest: Place
    parameters: RequestParameters = ()


@dataclass(frozen=True, slots=True)
class Announce(Message):
    """The sender publishes tracks of a namespace."""

    TYPE = 0x6
    request_id: Number
    namespace: Named
    parameters: RequestParameters = ()


@dataclass(frozen=True, slots=True)
class AnnounceOk(Message):
    """That is good to know."""

    TYPE = 0x7
    request_id: Number


@dataclass(frozen=True, slots=True)
class AnnounceError(_Refused):
    """It is not."""

    TYPE = 0x8


@dataclass(frozen=True, slots=True)
class Unannounce(Message):
    """The sender publishes nothing there any more."""

    TYPE = 0x9
    namespace: Named


@dataclass(frozen=True, slots=True)
class AnnounceCancel(Message):
    """The sender will not subscribe there any more."""

    TYPE = 0xC
    namespace: Named
    code: Number
    reason: Reason


@dataclass(frozen=True, slots=True)
class SubscribeAnnounces(Message):
    """The sender wants to be told of namespaces that begin so."""

    TYPE = 0x11
    request_id: Number
    prefix: Named
    parameters: RequestParameters = ()


@dataclass(frozen=True, slots=True)
class SubscribeAnnouncesOk(Message):
    """It will be."""

    TYPE = 0x12
    request_id: Number


@dataclass(frozen=True, slots=True)
class SubscribeAnnouncesError(_Refused):
    """It will not."""

    TYPE = 0x13


@dataclass(frozen=True, slots=True)
class UnsubscribeAnnounces(Message):
    """The sender wants to be told no more."""

    TYPE = 0x14
    prefix: Named


def _leaves(kind: type[Message]) -> Iterator[type[Message]]:
    for below in kind.__subclasses__():
        if below.TYPE >= 0:
            yield below
        yield from _leaves(below)


MESSAGES: Final = {kind.TYPE: kind for kind in _leaves(Message)}
"""Every message by its type."""


def check_name(namespace: Namespace, name: bytes) -> None:
    """Refuse the full name of a track that is longer than one may be.

    Raises:
        MoqError: it is.
    """
    if sum(map(len, namespace)) + len(name) > MAX_NAME_BYTES:
        raise violation("the name of a track is too long")
