"""The WebSockets of the API besides VSI: one row for each path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote

from vb.wsleg.inbound import check_leg, serve_leg
from vb.wsleg.kind import WebSocketLegs
from vb.wsleg.listener import check_listener, serve_listener
from vb.wsleg.request import UpgradeRequest
from vb.wsleg.socket import MediaSocket
from vb.wsleg.wire import DEFAULT_RATE_HZ, SAMPLE_RATES_HZ, WIRE_FORMATS

if TYPE_CHECKING:
    from vb.engine import Engine


@dataclass(frozen=True, slots=True)
class SocketRoute:
    """One path at which requests become WebSockets.

    Attributes:
        path: with `{name}` parameters, each a segment.
        name: of the operation in the OpenAPI document.
        summary: what it is.
        description: what is said on it.
        tag: heading under which it is listed.
        query: its parameters, by name.
        errors: statuses of refusals.
        check: refuses a request; told whether it is about to be served, so that there must be room for it.
        serve: serves an open WebSocket to its end.
    """

    path: str
    name: str
    summary: str
    description: str
    tag: str
    errors: tuple[int, ...]
    check: Callable[[Any, UpgradeRequest, bool], object]
    serve: Callable[[Any, UpgradeRequest, MediaSocket], Awaitable[None]]
    query: Mapping[str, Mapping[str, Any]]


def _kind(engine: Engine) -> WebSocketLegs:
    return cast("WebSocketLegs", engine.kinds.get(WebSocketLegs.name))


def _check_leg(engine: Engine, request: UpgradeRequest, admit: bool) -> None:
    check_leg(_kind(engine), request, admit=admit)


async def _serve_leg(engine: Engine, request: UpgradeRequest, socket: MediaSocket) -> None:
    await serve_leg(_kind(engine), request, socket)


def _check_listener(engine: Engine, request: UpgradeRequest, admit: bool) -> None:
    check_listener(_kind(engine), request, admit=admit)


async def _serve_listener(engine: Engine, request: UpgradeRequest, socket: MediaSocket) -> None:
    await serve_listener(_kind(engine), request, socket)


_TEXT: Final = {"type": "string"}

SOCKETS: Final = (
    SocketRoute(
        path="/v1/legs/websocket",
        name="wsLeg",
        summary="Connect a WebSocket as a leg",
        description="The leg is connected at once. The first frame is `connected`; after that audio goes "
        "both ways, 16-bit little-endian mono, in binary messages or as `audio` in Base64 in JSON. Control "
        "frames are JSON text: `text` where `rtt` is set, `ping` and `pong` with an `event_id`, `hangup`. "
        "`audio_dropped` tells what was lost. X-*, P-* and Authorization of the request are kept as headers "
        "of the leg; Authorization is not where it opens this server.",
        tag="legs",
        errors=(400, 426, 500, 503),
        check=_check_leg,
        serve=_serve_leg,
        query={
            "sample_rate": {
                "description": "samples a second, both ways",
                "schema": {"type": "integer", "enum": list(SAMPLE_RATES_HZ), "default": DEFAULT_RATE_HZ},
            },
            "wire_format": {
                "description": "how audio is sent",
                "schema": {**_TEXT, "enum": list(WIRE_FORMATS), "default": WIRE_FORMATS[0]},
            },
            "sample_format": {
                "description": "samples",
                "schema": {**_TEXT, "enum": ["s16le"], "default": "s16le"},
            },
            "room_id": {"description": "room to join; made when missing", "schema": _TEXT},
            "app_id": {"description": "word to filter events by", "schema": {**_TEXT, "maxLength": 256}},
            "rtt": {"description": "whether text is sent both ways", "schema": {"type": "boolean"}},
            "webhook_url": {
                "description": "receives this leg's events",
                "schema": {**_TEXT, "format": "uri"},
            },
            "webhook_secret": {"description": "signs them", "schema": _TEXT},
        },
    ),
    SocketRoute(
        path="/v1/rooms/{id}/ws",
        name="wsRoom",
        summary="Hear a room, and speak in it, without being a leg",
        description="The first frame is `connected`, with the room's rate. After that audio goes both ways, "
        "as `audio` in Base64 in JSON, 16-bit little-endian mono; what the client says is not in what it "
        "hears. `ping` is answered with `pong`, `stop` ends it, and `audio_dropped` tells what was lost. It "
        "is closed with 1001 when the room is deleted.",
        tag="rooms",
        errors=(404, 426, 503),
        check=_check_listener,
        serve=_serve_listener,
        query={},
    ),
)


def find_socket(path: str) -> tuple[SocketRoute, dict[str, str]] | None:
    """Return the row of a path, and its parameters; None when there is none."""
    segments = path.split("/")
    for route in SOCKETS:
        pattern = route.path.split("/")
        if len(pattern) == len(segments) and all(
            part.startswith("{") or part == segment for part, segment in zip(pattern, segments, strict=True)
        ):
            return route, {
                part[1:-1]: unquote(segment)
                for part, segment in zip(pattern, segments, strict=True)
                if part.startswith("{")
            }
    return None
