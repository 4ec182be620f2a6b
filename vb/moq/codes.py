"""The numbers of draft 11 that tell why something ended or was refused, and the error that ends a session."""

from __future__ import annotations

from enum import IntEnum

VERSION = 0xFF00000B
"""Draft 11, as setup messages name it (section 8.3.1)."""


class SessionCode(IntEnum):
    """Why a session is closed (section 3.4)."""

    NO_ERROR = 0x0
    INTERNAL_ERROR = 0x1
    UNAUTHORIZED = 0x2
    PROTOCOL_VIOLATION = 0x3
    INVALID_REQUEST_ID = 0x4
    DUPLICATE_TRACK_ALIAS = 0x5
    KEY_VALUE_FORMATTING_ERROR = 0x6
    TOO_MANY_REQUESTS = 0x7
    INVALID_PATH = 0x8
    MALFORMED_PATH = 0x9
    GOAWAY_TIMEOUT = 0x10
    CONTROL_MESSAGE_TIMEOUT = 0x11
    DATA_STREAM_TIMEOUT = 0x12
    AUTH_TOKEN_CACHE_OVERFLOW = 0x13
    DUPLICATE_AUTH_TOKEN_ALIAS = 0x14
    VERSION_NEGOTIATION_FAILED = 0x15


class RequestCode(IntEnum):
    """Why a request is refused: what SUBSCRIBE, FETCH, ANNOUNCE and SUBSCRIBE_ANNOUNCES have in common."""

    INTERNAL_ERROR = 0x0
    UNAUTHORIZED = 0x1
    TIMEOUT = 0x2
    NOT_SUPPORTED = 0x3
    MALFORMED_AUTH_TOKEN = 0x10
    UNKNOWN_AUTH_TOKEN_ALIAS = 0x11
    EXPIRED_AUTH_TOKEN = 0x12


class SubscribeCode(IntEnum):
    """Why a SUBSCRIBE is refused, besides `RequestCode` (section 8.9)."""

    TRACK_DOES_NOT_EXIST = 0x4
    INVALID_RANGE = 0x5
    RETRY_TRACK_ALIAS = 0x6


class AnnounceCode(IntEnum):
    """Why an ANNOUNCE is refused, besides `RequestCode` (section 8.21)."""

    UNINTERESTED = 0x4


class PrefixCode(IntEnum):
    """Why a SUBSCRIBE_ANNOUNCES is refused, besides `RequestCode` (section 8.26)."""

    NAMESPACE_PREFIX_UNKNOWN = 0x4
    NAMESPACE_PREFIX_OVERLAP = 0x5


class DoneCode(IntEnum):
    """Why a subscription is over (section 8.12)."""

    INTERNAL_ERROR = 0x0
    UNAUTHORIZED = 0x1
    TRACK_ENDED = 0x2
    SUBSCRIPTION_ENDED = 0x3
    GOING_AWAY = 0x4
    EXPIRED = 0x5
    TOO_FAR_BEHIND = 0x6


class TrackStatusCode(IntEnum):
    """What is known of a track (section 8.18)."""

    IN_PROGRESS = 0x0
    DOES_NOT_EXIST = 0x1
    NOT_YET_BEGUN = 0x2
    FINISHED = 0x3
    UNKNOWN_HERE = 0x4


class ResetCode(IntEnum):
    """Why a data stream is given up (section 9.4.3)."""

    INTERNAL_ERROR = 0x0
    CANCELLED = 0x1
    DELIVERY_TIMEOUT = 0x2
    SESSION_CLOSED = 0x3


class ObjectStatus(IntEnum):
    """What an object without a payload says (section 9.2.1.1)."""

    NORMAL = 0x0
    DOES_NOT_EXIST = 0x1
    END_OF_GROUP = 0x3
    END_OF_TRACK = 0x4


class MoqError(Exception):
    """The peer broke the protocol: the session has to be closed.

    Args:
        code: with which code.
        reason: for people, in the close capsule and the log.
    """

    def __init__(self, code: SessionCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def violation(reason: str) -> MoqError:
    """Return the error of a peer that did what the draft forbids."""
    return MoqError(SessionCode.PROTOCOL_VIOLATION, reason)
