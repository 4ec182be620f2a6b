"""SIP requests and responses.  Spec: RFC 3261 §7."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from vb.sip.errors import SipParseError
from vb.sip.headers import CSeq, NameAddr, Via, parse_cseq, parse_name_addr, parse_via, split_list, with_tag
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


class _Keys(dict[str, str]):
    """Keys by name; names as nearly everybody spells them are found without a call."""

    def __missing__(self, name: str) -> str:
        key = name.lower()
        return COMPACT_NAMES.get(key, key) if len(key) == 1 else key


_KEYS = _Keys((name, name.lower()) for name in _USUAL_NAMES)


def header_key(name: str) -> str:
    """Return the name under which a header is found: lower case, compact forms spelled out."""
    return _KEYS[name]


class Headers:
    """Ordered headers with case-insensitive names; compact and long forms are the same header.

    Attributes:
        pairs: names as written and values, in order of lines. To be read only.
        first: value of the first line of each header, by `header_key`. To be read only, without a call.
        has_repeated: whether some header has several lines.
    """

    __slots__ = ("_keys", "first", "has_repeated", "pairs")

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.pairs = list(pairs)
        self.first = {_KEYS[name]: value for name, value in self.pairs}
        self._keys = list(self.first)
        self.has_repeated = len(self._keys) < len(self.pairs)
        if self.has_repeated:
            self._keys = [_KEYS[name] for name, _ in self.pairs]
            self.first = {}
            for key, (_, value) in zip(self._keys, self.pairs, strict=True):
                self.first.setdefault(key, value)

    def get(self, name: str) -> str | None:
        """Return the first value of a header, or None."""
        return self.first.get(_KEYS[name])

    def get_all(self, name: str) -> list[str]:
        """Return the values of a header, one for each line."""
        key = _KEYS[name]
        if key not in self.first:
            return []
        if not self.has_repeated:
            return [self.first[key]]
        return [pair[1] for found, pair in zip(self._keys, self.pairs, strict=True) if found == key]

    def get_list(self, name: str) -> list[str]:
        """Return the values of a list header: lines joined, then split at commas."""
        return [item for line in self.get_all(name) for item in split_list(line)]

    def count(self, name: str) -> int:
        """Return on how many lines a header occurs."""
        return self._keys.count(_KEYS[name])

    def add(self, name: str, value: str) -> None:
        """Append a header line."""
        key = _KEYS[name]
        self.has_repeated = self.has_repeated or key in self.first
        self.pairs.append((name, value))
        self._keys.append(key)
        self.first.setdefault(key, value)

    def set(self, name: str, value: str) -> None:
        """Replace the first line of a header and drop the others; append if there is none."""
        key = _KEYS[name]
        if key not in self.first:
            self.add(name, value)
            return
        first = self._keys.index(key)
        self.pairs[first] = (name, value)
        self.first[key] = value
        kept = [i for i, found in enumerate(self._keys) if found != key or i == first]
        self.pairs = [self.pairs[i] for i in kept]
        self._keys = [self._keys[i] for i in kept]
        self.has_repeated = len(self.first) < len(kept)

    def set_first(self, name: str, value: str) -> None:
        """Replace the value of the first line of a header and keep its further lines."""
        key = _KEYS[name]
        index = self._keys.index(key)
        self.pairs[index] = (self.pairs[index][0], value)
        self.first[key] = value

    def remove(self, name: str) -> None:
        """Drop every line of a header."""
        key = _KEYS[name]
        self.pairs = [p for found, p in zip(self._keys, self.pairs, strict=True) if found != key]
        self._keys = [found for found in self._keys if found != key]
        self.first.pop(key, None)
        self.has_repeated = len(self.first) < len(self._keys)

    def copy(self) -> Headers:
        """Return an independent copy."""
        return Headers(self.pairs)

    def keys(self) -> list[str]:
        """Return the lower-case long names in order of lines."""
        return self._keys

    def __contains__(self, name: str) -> bool:
        return _KEYS[name] in self.first

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return self._keys == other._keys and [v for _, v in self.pairs] == [v for _, v in other.pairs]

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Headers({self.pairs!r})"


class Message:
    """What requests and responses share.

    Typed header values are parsed at first use, or all at once by whoever parses the message.

    Attributes:
        encoding: of the header section, "utf-8" unless the peer sent something else.
        ignored_lines: header lines that could not be used and that nobody needs, which were left out.
        via: the topmost Via.
        from_, to, cseq, call_id: the headers of these names.
        contact: the first Contact, None when there is none; `*` cannot be read.
    """

    __slots__ = (
        "body",
        "call_id",
        "contact",
        "cseq",
        "encoding",
        "from_",
        "headers",
        "ignored_lines",
        "to",
        "via",
    )

    headers: Headers
    body: bytes
    encoding: str
    ignored_lines: int
    via: Via
    from_: NameAddr
    to: NameAddr
    cseq: CSeq
    call_id: str
    contact: NameAddr | None

    if not TYPE_CHECKING:  # the type checker is to know the attributes of above, and no others

        def __getattr__(self, name):
            """Read a typed header value that has not been read yet: its slot is empty."""
            reader = _READERS.get(name)
            if reader is None:
                raise AttributeError(name)
            value = reader(self)
            setattr(self, name, value)
            return value

    def required(self, name: str) -> str:
        """Return the value of a header that must be there.

        Raises:
            SipParseError: if it is missing.
        """
        value = self.headers.first.get(_KEYS[name])
        if value is None:
            raise SipParseError(f"{name} is missing")
        return value

    def start_line(self) -> str:
        """Return the request or status line."""
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """Return the message for the wire, with a Content-Length that fits the body.

        Raises:
            ValueError: a header would run over its line. What clients write is checked before it comes
                here; this keeps a mistake there from becoming somebody's header.
        """
        headers = self.headers
        if "content-length" in headers.first:
            headers = headers.copy()
            headers.remove("Content-Length")
        lines = [f"{name}: {value}" for name, value in headers.pairs]
        text = "\r\n".join((self.start_line(), *lines, f"Content-Length: {len(self.body)}\r\n\r\n"))
        if not text.count("\n") == text.count("\r") == len(lines) + 3:
            raise ValueError("a line break inside a header")
        return text.encode(self.encoding, "replace") + self.body


def _top_via(message: Message) -> Via:
    values = split_list(message.required("Via"))
    if not values:
        raise SipParseError("empty Via")
    return parse_via(values[0])


def _first_contact(message: Message) -> NameAddr | None:
    values = message.headers.get_list("Contact")
    return parse_name_addr(values[0]) if values else None


_READERS: Final[dict[str, Callable[[Message], object]]] = {
    "via": _top_via,
    "from_": lambda message: parse_name_addr(message.required("From")),
    "to": lambda message: parse_name_addr(message.required("To")),
    "cseq": lambda message: parse_cseq(message.required("CSeq")),
    "call_id": lambda message: message.required("Call-ID"),
    "contact": _first_contact,
}


class Request(Message):
    """A SIP request; `uri` is the text of the Request-URI."""

    __slots__ = ("method", "uri")

    def __init__(
        self, method: str, uri: str, headers: Headers, body: bytes = b"", encoding: str = "utf-8"
    ) -> None:
        self.headers = headers
        self.body = body
        self.encoding = encoding
        self.ignored_lines = 0
        self.method = method
        self.uri = uri

    def start_line(self) -> str:
        """Return the request line."""
        return f"{self.method} {self.uri} SIP/2.0"

    def replace_top_via(self, via: Via) -> None:
        """Put another value in place of the topmost Via."""
        line, text = self.headers.first["via"], str(via)
        if "," in line:
            text = ", ".join([text, *split_list(line)[1:]])
        self.headers.set_first("Via", text)
        self.via = via

    def __repr__(self) -> str:
        return f"<{self.method} {self.uri}>"


class Response(Message):
    """A SIP response."""

    __slots__ = ("reason", "status")

    def __init__(
        self, status: int, reason: str, headers: Headers, body: bytes = b"", encoding: str = "utf-8"
    ) -> None:
        self.headers = headers
        self.body = body
        self.encoding = encoding
        self.ignored_lines = 0
        self.status = status
        self.reason = reason

    def start_line(self) -> str:
        """Return the status line."""
        return f"SIP/2.0 {self.status} {self.reason}"

    def __repr__(self) -> str:
        return f"<{self.status} {self.reason}>"


_COPIED: Final = (("Via", "via"), ("From", "from"), ("To", "to"), ("Call-ID", "call-id"), ("CSeq", "cseq"))


def response_to(
    request: Request,
    status: int,
    reason: str | None = None,
    *,
    to_tag: str = "",
    headers: Iterable[tuple[str, str]] = (),
) -> Response:
    """Build a response with the headers that every response copies.

    Missing ones are left out, so that a damaged request can be answered too.

    Args:
        to_tag: added to To unless the request's To has a tag already.
        headers: further ones.

    Spec: RFC 3261 §8.2.6.
    """
    first = request.headers.first
    if to_tag and "to" in first and not _has_tag(request):
        first = {**first, "to": with_tag(first["to"], to_tag)}
    pairs = [(name, first[key]) for name, key in _COPIED if key in first]
    if request.headers.has_repeated:
        pairs[1:1] = [("Via", value) for value in request.headers.get_all("Via")[1:]]
    if status == 100 and "timestamp" in first:
        pairs.append(("Timestamp", first["timestamp"]))
    pairs += headers
    return Response(status, reason or reason_phrase(status), Headers(pairs), b"", request.encoding)


def _has_tag(request: Request) -> bool:
    try:
        return request.to.tag != ""
    except SipParseError:
        return True  # unreadable: nothing may be appended to it
