"""Requests to upgrade: what they ask for, and which of their headers a leg keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from vb.errors import InvalidField
from vb.wsleg.wire import DEFAULT_RATE_HZ, SAMPLE_RATES_HZ, WIRE_FORMATS, WireFormat

_SECRETS: Final = frozenset({"authorization", "proxy-authorization", "cookie"})
_YES: Final = frozenset({"1", "true", "yes"})
_NO: Final = frozenset({"", "0", "false", "no"})
_SAMPLE_FORMAT: Final = "s16le"
_MAX_APP_ID_CHARS: Final = 256
_MAX_URL_CHARS: Final = 4096


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """A request to upgrade to a WebSocket.

    Attributes:
        path: the parameters in its path.
        query: its query, as it was sent.
        headers: names in lower case.
    """

    path: Mapping[str, str] = field(default_factory=dict)
    query: bytes = b""
    headers: Sequence[tuple[bytes, bytes]] = ()


@dataclass(frozen=True, slots=True)
class AskedLeg:
    """What a far end asks for that opens a leg, whatever carries it; texts are empty where it does not say.

    Attributes:
        text: whether it wants text beside audio.
    """

    text: bool
    room_id: str
    app_id: str
    webhook_url: str
    webhook_secret: str


@dataclass(frozen=True, slots=True)
class LegRequest(AskedLeg):
    """What a request for a WebSocket leg asks for."""

    rate_hz: int
    wire_format: WireFormat


def read_query(query: bytes) -> dict[str, str]:
    """Return the values of a query; of a repeated key the first."""
    values: dict[str, str] = {}
    for key, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        values.setdefault(key, value)
    return values


def read_asked_leg(values: Mapping[str, str]) -> AskedLeg:
    """Read what requests for legs of any kind have in common; unknown keys are ignored.

    Raises:
        InvalidField: a value cannot be used.
    """
    return AskedLeg(
        text=_flag(values.get("rtt", "").lower()),
        room_id=values.get("room_id", ""),
        app_id=_short(values, "app_id", _MAX_APP_ID_CHARS),
        webhook_url=_short(values, "webhook_url", _MAX_URL_CHARS),
        webhook_secret=values.get("webhook_secret", ""),
    )


def read_leg_request(query: bytes) -> LegRequest:
    """Read the query of a request for a WebSocket leg; unknown keys are ignored, of a repeated one the first.

    Raises:
        InvalidField: a value cannot be used.
    """
    values = read_query(query)
    rate_hz, wire_format = _rate(values.get("sample_rate", "")), _wire_format(values)
    asked = read_asked_leg(values)
    return LegRequest(
        text=asked.text,
        room_id=asked.room_id,
        app_id=asked.app_id,
        webhook_url=asked.webhook_url,
        webhook_secret=asked.webhook_secret,
        rate_hz=rate_hz,
        wire_format=wire_format,
    )


def _rate(text: str) -> int:
    if not text:
        return DEFAULT_RATE_HZ
    if text in map(str, SAMPLE_RATES_HZ):
        return int(text)
    raise InvalidField("sample_rate", f"must be {_listed(SAMPLE_RATES_HZ)}")


def _wire_format(values: Mapping[str, str]) -> WireFormat:
    if values.get("sample_format") not in (None, "", _SAMPLE_FORMAT):
        raise InvalidField("sample_format", f"must be {_SAMPLE_FORMAT}")
    found = values.get("wire_format") or WIRE_FORMATS[0]
    if found not in WIRE_FORMATS:
        raise InvalidField("wire_format", f"must be {_listed(WIRE_FORMATS)}")
    return found


def _flag(text: str) -> bool:
    if text not in _YES | _NO:
        raise InvalidField("rtt", "must be true or false")
    return text in _YES


def _short(values: Mapping[str, str], name: str, limit: int) -> str:
    value = values.get(name, "")
    if len(value) > limit:
        raise InvalidField(name, f"has more than {limit} characters")
    return value


def _listed(choices: Iterable[object]) -> str:
    *rest, last = map(str, choices)
    return f"{', '.join(rest)} or {last}"


def kept_headers(headers: Iterable[tuple[bytes, bytes]], *, authorization: bool) -> dict[str, str]:
    """Return the headers of a request that clients see: X-*, P-* and Authorization, of each the first.

    Args:
        headers: all of them.
        authorization: whether Authorization is the caller's own; where it opens this server it is a secret.
    """
    kept: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1").lower()
        if name.startswith(("x-", "p-")) or (authorization and name == "authorization"):
            kept.setdefault("-".join(map(str.capitalize, name.split("-"))), raw_value.decode("latin-1"))
    return kept


def shown_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of our own request that clients see: all but those that hold credentials."""
    return {name: value for name, value in headers.items() if name.lower() not in _SECRETS}
