"""SDP as the peers write and read it (RFC 4566), just enough for one audio call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

RTPMAPS = {
    "PCMU": (0, "PCMU/8000", None),
    "PCMA": (8, "PCMA/8000", None),
    "G722": (9, "G722/8000", None),
    "opus": (111, "opus/48000/2", "minptime=20; useinbandfec=1"),
    "GSM": (3, "GSM/8000", None),
}


@dataclass
class Media:
    """One m-line with what belongs to it."""

    kind: str
    port: int
    protocol: str
    formats: list[str]
    connection: str
    attributes: list[str] = field(default_factory=list)

    def attribute(self, name: str) -> str | None:
        """The value of the first ``a=name:value``, an empty string for a bare ``a=name``."""
        for line in self.attributes:
            key, _, value = line.partition(":")
            if key == name:
                return value
        return None

    @property
    def direction(self) -> str | None:
        found = [a for a in self.attributes if a in ("sendrecv", "sendonly", "recvonly", "inactive")]
        return found[0] if found else None

    @property
    def rtpmaps(self) -> dict[int, str]:
        """Payload type to encoding, such as ``{0: "PCMU/8000"}``."""
        maps: dict[int, str] = {}
        for line in self.attributes:
            if line.startswith("rtpmap:"):
                number, encoding = line[7:].split(" ", 1)
                maps[int(number)] = encoding
        return maps

    def fmtp(self, payload_type: int) -> str | None:
        """The format parameters of a payload type."""
        for line in self.attributes:
            if line.startswith(f"fmtp:{payload_type} "):
                return line.split(" ", 1)[1]
        return None


@dataclass
class Sdp:
    """A session description as read from the wire."""

    origin: list[str]
    media: list[Media]
    lines: list[str]

    @property
    def audio(self) -> Media:
        """The first audio m-line that is not refused, else the first one."""
        audio = [m for m in self.media if m.kind == "audio"]
        live = [m for m in audio if m.port]
        return (live or audio)[0]

    @property
    def session_id(self) -> str:
        return self.origin[1]

    @property
    def version(self) -> int:
        return int(self.origin[2])


def read_sdp(body: bytes) -> Sdp:
    """Reads SDP that the server sent; strict about line ends, order of v= and o=, and the m-line's shape.

    Raises:
        ValueError: when it is not well formed.
    """
    text = body.decode("utf-8")
    if not text.endswith("\r\n"):
        raise ValueError("SDP does not end with CRLF")
    lines = text[:-2].split("\r\n")
    if lines[0] != "v=0" or not lines[1].startswith("o=") or not lines[2].startswith("s="):
        raise ValueError(f"SDP begins with {lines[:3]}")
    origin = lines[1][2:].split(" ")
    if len(origin) != 6:
        raise ValueError(f"o= line has {len(origin)} fields: {lines[1]}")
    session_connection = ""
    media: list[Media] = []
    for line in lines[3:]:
        kind, value = line[:2], line[2:]
        if kind == "m=":
            name, port, protocol, *formats = value.split(" ")
            media.append(Media(name, int(port), protocol, formats, session_connection))
        elif kind == "c=" and not media:
            session_connection = value
        elif kind == "c=":
            media[-1].connection = value
        elif kind == "a=" and media:
            media[-1].attributes.append(value)
    return Sdp(origin, media, lines)


def audio_lines(
    port: int,
    *,
    codecs: Sequence[str] = ("PCMU",),
    telephone_event: int | None = 101,
    direction: str | None = "sendrecv",
    protocol: str = "RTP/AVP",
    ptime_ms: int = 20,
    extra: Sequence[str] = (),
) -> list[str]:
    """One m=audio section."""
    known = [RTPMAPS[name] for name in codecs]
    numbers = [str(number) for number, _, _ in known] + ([str(telephone_event)] if telephone_event else [])
    lines = [f"m=audio {port} {protocol} {' '.join(numbers)}"]
    for number, encoding, parameters in known:
        lines.append(f"a=rtpmap:{number} {encoding}")
        if parameters:
            lines.append(f"a=fmtp:{number} {parameters}")
    if telephone_event:
        lines += [f"a=rtpmap:{telephone_event} telephone-event/8000", f"a=fmtp:{telephone_event} 0-16"]
    lines.append(f"a=ptime:{ptime_ms}")
    if direction:
        lines.append(f"a={direction}")
    return lines + list(extra)


def session(
    media: Sequence[str],
    *,
    host: str = "127.0.0.1",
    version: int = 1,
    connection: str | None = None,
    attributes: Sequence[str] = (),
) -> bytes:
    """A whole description around the given m-sections; ``attributes`` are those of the session."""
    family = "IP6" if ":" in host else "IP4"
    head = [
        "v=0",
        f"o=- 4711 {version} IN {family} {host}",
        "s=scenario",
        f"c=IN {family} {connection or host}",
        "t=0 0",
        *(f"a={attribute}" for attribute in attributes),
    ]
    return "".join(line + "\r\n" for line in [*head, *media]).encode()


def audio_sdp(
    port: int,
    *,
    codecs: Sequence[str] = ("PCMU",),
    telephone_event: int | None = 101,
    direction: str | None = "sendrecv",
    protocol: str = "RTP/AVP",
    ptime_ms: int = 20,
    extra: Sequence[str] = (),
    host: str = "127.0.0.1",
    version: int = 1,
    connection: str | None = None,
) -> bytes:
    """An offer or answer with one m=audio."""
    section = audio_lines(
        port,
        codecs=codecs,
        telephone_event=telephone_event,
        direction=direction,
        protocol=protocol,
        ptime_ms=ptime_ms,
        extra=extra,
    )
    return session(section, host=host, version=version, connection=connection)
