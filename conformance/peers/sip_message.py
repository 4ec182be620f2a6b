"""SIP text as the peers read and write it (RFC 3261 §7), kept apart from the server's own parser."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_COMPACT = {
    "i": "call-id",
    "m": "contact",
    "e": "content-encoding",
    "l": "content-length",
    "c": "content-type",
    "f": "from",
    "s": "subject",
    "k": "supported",
    "t": "to",
    "v": "via",
}


class BadSip(ValueError):
    """Bytes that are not a SIP message."""


@dataclass(frozen=True)
class SipMessage:
    """One message as it was on the wire."""

    start_line: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    raw: bytes
    source: tuple[str, int]

    @property
    def is_request(self) -> bool:
        return not self.start_line.startswith("SIP/2.0 ")

    @property
    def method(self) -> str:
        """The method of a request, or of the request that a response answers."""
        return self.start_line.split(" ", 1)[0] if self.is_request else self.cseq[1]

    @property
    def request_uri(self) -> str:
        return self.start_line.split(" ")[1]

    @property
    def status(self) -> int:
        """The status of a response, 0 for a request."""
        return 0 if self.is_request else int(self.start_line.split(" ")[1])

    @property
    def reason(self) -> str:
        return self.start_line.split(" ", 2)[2] if not self.is_request else ""

    def all(self, name: str) -> list[str]:
        """Every value of a header, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        values = self.all(name)
        return values[0] if values else None

    def must(self, name: str) -> str:
        """The first value of a header that a well-formed message has.

        Raises:
            BadSip: when it is missing.
        """
        value = self.header(name)
        if value is None:
            raise BadSip(f"{self.start_line}: no {name}")
        return value

    @property
    def cseq(self) -> tuple[int, str]:
        number, method = self.must("CSeq").split()
        return int(number), method

    @property
    def call_id(self) -> str:
        return self.must("Call-ID")

    @property
    def from_tag(self) -> str:
        return tag_of(self.must("From"))

    @property
    def to_tag(self) -> str:
        return tag_of(self.must("To"))

    @property
    def allow(self) -> set[str]:
        return {item.strip() for value in self.all("Allow") for item in value.split(",") if item.strip()}


def tag_of(name_addr: str) -> str:
    """The tag parameter of a From or To value, or an empty string."""
    match = re.search(r";\s*tag=([^;>\s]+)", name_addr.rsplit(">", 1)[-1])
    return match.group(1) if match else ""


def uri_of(name_addr: str) -> str:
    """The URI within a name-addr, or the whole value up to its parameters."""
    match = re.search(r"<([^>]*)>", name_addr)
    return match.group(1) if match else name_addr.split(";", 1)[0].strip()


def address_of(uri: str) -> tuple[str, int]:
    """Host and port of a SIP URI; the port defaults to 5060."""
    match = re.match(r"sips?:(?:[^@]*@)?(\[[^\]]+\]|[^:;?>]+)(?::(\d+))?", uri)
    if match is None:
        raise BadSip(f"not a SIP URI: {uri}")
    return match.group(1).strip("[]"), int(match.group(2) or 5060)


def read_message(data: bytes, source: tuple[str, int]) -> SipMessage:
    """Reads one datagram.

    Raises:
        BadSip: when it has no start line or a header without a colon.
    """
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    if not lines[0] or ("SIP/2.0" not in lines[0]):
        raise BadSip(f"no start line: {lines[0]!r}")
    headers: list[tuple[str, str]] = []
    for line in lines[1:]:
        if line[:1] in (" ", "\t") and headers:
            headers[-1] = (headers[-1][0], headers[-1][1] + " " + line.strip())
            continue
        name, colon, value = line.partition(":")
        if not colon:
            raise BadSip(f"header without a colon: {line!r}")
        name = name.strip()
        headers.append((_COMPACT.get(name.lower(), name), value.strip()))
    return SipMessage(lines[0], tuple(headers), body, data, source)


def write_message(start_line: str, headers: Iterable[tuple[str, str]], body: bytes = b"") -> bytes:
    """Writes one message; Content-Length is added here and nowhere else."""
    lines = [
        start_line,
        *(f"{name}: {value}" for name, value in headers),
        f"Content-Length: {len(body)}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body


def split_stream(buffer: bytes) -> tuple[bytes | None, bytes]:
    """Cuts the first whole message off a TCP byte stream; None when it is not complete yet."""
    buffer = buffer.lstrip(b"\r\n")
    head, gap, rest = buffer.partition(b"\r\n\r\n")
    if not gap:
        return None, buffer
    match = re.search(rb"(?im)^(?:content-length|l)\s*:\s*(\d+)", head)
    length = int(match.group(1)) if match else 0
    if len(rest) < length:
        return None, buffer
    return head + gap + rest[:length], rest[length:]
