"""SIP requests and responses.  Spec: RFC 3261 §7."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vb.sip.errors import SipParseError
from vb.sip.headers import CSeq, NameAddr, Via, parse_cseq, parse_name_addr, parse_via, split_list
from vb.sip.status import reason_phrase

# Spec: RFC 3261 §7.3.3, RFC 3265, 3515, 3841, 3892, 4028, 6665.
COMPACT_NAMES = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
}


_USUAL_NAMES = (
    "Accept",
    "Allow",
    "Allow-Events",
    "Authorization",
    "CSeq",
    "Call-ID",
    "Contact",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "Event",
    "Expires",
    "From",
    "Max-Forwards",
    "Min-SE",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Record-Route",
    "Refer-To",
    "Referred-By",
    "Replaces",
    "Require",
    "Route",
    "Server",
    "Session-Expires",
    "Supported",
    "Timestamp",
    "To",
    "User-Agent",
    "Via",
    "WWW-Authenticate",
    "Warning",
)
_KEYS = {name: name.lower() for name in _USUAL_NAMES}
"""Names as nearly everybody spells them, which need no further look."""


def header_key(name: str) -> str:
    """Return the name under which a header is found: lower case, compact forms spelled out."""
    key = _KEYS.get(name)
    if key is None:
        key = name.lower()
        if len(key) == 1:
            key = COMPACT_NAMES.get(key, key)
    return key


class Headers:
    """Ordered headers with case-insensitive names; compact and long forms are the same header.

    A message has a dozen headers, so a scan of a list beats a dictionary and keeps the order.
    """

    __slots__ = ("_keys", "_pairs")

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = list(pairs)
        known = _KEYS.get
        self._keys = [known(name) or header_key(name) for name, _ in self._pairs]

    def get(self, name: str) -> str | None:
        """Return the first value of a header, or None."""
        key = _KEYS.get(name) or header_key(name)
        keys = self._keys
        return self._pairs[keys.index(key)][1] if key in keys else None

    def get_all(self, name: str) -> list[str]:
        """Return the values of a header, one for each line."""
        key = _KEYS.get(name) or header_key(name)
        if key not in self._keys:
            return []
        return [pair[1] for found, pair in zip(self._keys, self._pairs, strict=True) if found == key]

    def get_list(self, name: str) -> list[str]:
        """Return the values of a list header: lines joined, then split at commas."""
        return [item for line in self.get_all(name) for item in split_list(line)]

    def count(self, name: str) -> int:
        """Return on how many lines a header occurs."""
        return self._keys.count(header_key(name))

    def add(self, name: str, value: str) -> None:
        """Append a header line."""
        self._pairs.append((name, value))
        self._keys.append(_KEYS.get(name) or header_key(name))

    def set(self, name: str, value: str) -> None:
        """Replace the first line of a header and drop the others; append if there is none."""
        key = header_key(name)
        if key not in self._keys:
            self.add(name, value)
            return
        first = self._keys.index(key)
        self._pairs[first] = (name, value)
        kept = [i for i, found in enumerate(self._keys) if found != key or i == first]
        self._pairs = [self._pairs[i] for i in kept]
        self._keys = [self._keys[i] for i in kept]

    def set_first(self, name: str, value: str) -> None:
        """Replace the value of the first line of a header and keep its further lines."""
        index = self._keys.index(header_key(name))
        self._pairs[index] = (self._pairs[index][0], value)

    def remove(self, name: str) -> None:
        """Drop every line of a header."""
        key = header_key(name)
        self._pairs = [p for found, p in zip(self._keys, self._pairs, strict=True) if found != key]
        self._keys = [found for found in self._keys if found != key]

    def copy(self) -> Headers:
        """Return an independent copy."""
        other = Headers()
        other._pairs = list(self._pairs)
        other._keys = list(self._keys)
        return other

    def keys(self) -> list[str]:
        """Return the lower-case long names in order of lines."""
        return self._keys

    def __contains__(self, name: str) -> bool:
        return (_KEYS.get(name) or header_key(name)) in self._keys

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return self._keys == other._keys and [v for _, v in self._pairs] == [v for _, v in other._pairs]

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Headers({self._pairs!r})"


class Message:
    """What requests and responses share; typed header values are parsed at first use.

    Attributes:
        encoding: of the header section, "utf-8" unless the peer sent something else.
        ignored_lines: header lines that could not be used and that nobody needs, which were left out.
    """

    __slots__ = ("_call_id", "_cseq", "_from", "_to", "_via", "body", "encoding", "headers", "ignored_lines")

    def __init__(self, headers: Headers, body: bytes, encoding: str) -> None:
        self.headers = headers
        self.body = body
        self.encoding = encoding
        self.ignored_lines = 0
        self._call_id: str | None = None
        self._via: Via | None = None
        self._from: NameAddr | None = None
        self._to: NameAddr | None = None
        self._cseq: CSeq | None = None

    @property
    def via(self) -> Via:
        """Topmost Via."""
        if self._via is None:
            values = split_list(self.required("Via"))
            if not values:
                raise SipParseError("empty Via")
            self._via = parse_via(values[0])
        return self._via

    @property
    def from_(self) -> NameAddr:
        """The From header."""
        if self._from is None:
            self._from = parse_name_addr(self.required("From"))
        return self._from

    @property
    def to(self) -> NameAddr:
        """The To header."""
        if self._to is None:
            self._to = parse_name_addr(self.required("To"))
        return self._to

    @property
    def cseq(self) -> CSeq:
        """The CSeq header."""
        if self._cseq is None:
            self._cseq = parse_cseq(self.required("CSeq"))
        return self._cseq

    @property
    def call_id(self) -> str:
        """The Call-ID header."""
        if self._call_id is None:
            self._call_id = self.required("Call-ID")
        return self._call_id

    def required(self, name: str) -> str:
        """Return the value of a header that must be there.

        Raises:
            SipParseError: if it is missing.
        """
        value = self.headers.get(name)
        if value is None:
            raise SipParseError(f"{name} is missing")
        return value

    def contact(self) -> NameAddr | None:
        """Return the first Contact, None when there is none.

        Raises:
            SipParseError: if it cannot be read, or is `*`.
        """
        values = self.headers.get_list("Contact")
        return parse_name_addr(values[0]) if values else None

    def start_line(self) -> str:
        """Return the request or status line."""
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """Return the message for the wire, with a Content-Length that fits the body.

        Raises:
            ValueError: a header would run over its line. What clients write is checked before it comes
                here; this keeps a mistake there from becoming somebody's header.
        """
        lines = [self.start_line()]
        headers = self.headers
        if "Content-Length" in headers:
            headers = headers.copy()
            headers.remove("Content-Length")
        lines += [f"{name}: {value}" for name, value in headers]
        lines.append(f"Content-Length: {len(self.body)}\r\n\r\n")
        text = "\r\n".join(lines)
        if not text.count("\n") == text.count("\r") == len(lines) + 1:
            raise ValueError("a line break inside a header")
        return text.encode(self.encoding, "replace") + self.body


class Request(Message):
    """A SIP request; `uri` is the text of the Request-URI."""

    __slots__ = ("method", "uri")

    def __init__(
        self, method: str, uri: str, headers: Headers, body: bytes = b"", encoding: str = "utf-8"
    ) -> None:
        super().__init__(headers, body, encoding)
        self.method = method
        self.uri = uri

    def start_line(self) -> str:
        """Return the request line."""
        return f"{self.method} {self.uri} SIP/2.0"

    def replace_top_via(self, via: Via) -> None:
        """Put another value in place of the topmost Via."""
        values = split_list(self.required("Via"))
        self.headers.set_first("Via", ", ".join([str(via), *values[1:]]))
        self._via = via

    def __repr__(self) -> str:
        return f"<{self.method} {self.uri}>"


class Response(Message):
    """A SIP response."""

    __slots__ = ("reason", "status")

    def __init__(
        self, status: int, reason: str, headers: Headers, body: bytes = b"", encoding: str = "utf-8"
    ) -> None:
        super().__init__(headers, body, encoding)
        self.status = status
        self.reason = reason

    def start_line(self) -> str:
        """Return the status line."""
        return f"SIP/2.0 {self.status} {self.reason}"

    def __repr__(self) -> str:
        return f"<{self.status} {self.reason}>"


def response_to(request: Request, status: int, reason: str | None = None, *, to_tag: str = "") -> Response:
    """Build a response with the headers that every response copies.

    Missing ones are left out, so that a damaged request can be answered too.

    Args:
        to_tag: added to To unless the request's To has a tag already.

    Spec: RFC 3261 §8.2.6.
    """
    source = request.headers
    pairs = [("Via", value) for value in source.get_all("Via")]
    for name in ("From", "To", "Call-ID", "CSeq"):
        header = source.get(name)
        if header is None:
            continue
        if name == "To" and to_tag and not _has_tag(request):
            header = f"{header};tag={to_tag}"
        pairs.append((name, header))
    if status == 100 and (timestamp := source.get("Timestamp")) is not None:
        pairs.append(("Timestamp", timestamp))
    return Response(status, reason or reason_phrase(status), Headers(pairs), b"", request.encoding)


def _has_tag(request: Request) -> bool:
    try:
        return bool(request.to.tag)
    except SipParseError:
        return True  # unreadable: nothing may be appended to it
