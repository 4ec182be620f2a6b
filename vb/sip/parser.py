"""Bytes to messages: total, bounded, one reading only.  Spec: RFC 3261 §7, §18.3, §25.1; RFC 4475."""

from __future__ import annotations

import re

from vb.sip.errors import SipParseError
from vb.sip.header_lines import check_single, drop_unreadable_limits, has_stray_control, read_damaged
from vb.sip.headers import parse_cseq, parse_name_addr, parse_via, split_list
from vb.sip.message import Headers, Message, Request, Response

MAX_MESSAGE_BYTES = 65535
MAX_HEADER_LINE_BYTES = 8192
MAX_HEADERS = 256
MAX_VIAS = 70

_TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]+"
# Spelled out: `re.IGNORECASE` would fold every character of the line.
_SIP = "[Ss][Ii][Pp]"
_REQUEST_LINE = re.compile(rf"({_TOKEN}+) ([^\s\x00-\x20<>\"]++) {_SIP}/([0-9]++\.[0-9]++)")
_STATUS_LINE = re.compile(rf"{_SIP}/([0-9]++\.[0-9]++) ([0-9]{{3}}) ?([^\r\n]*)")
# What repeats below is possessive or begins where a run of blanks begins: a hostile line must not make the
# search start over for every blank of it.
_LOOSE_REQUEST_LINE = re.compile(rf"({_TOKEN}+)\s++(\S(?:.*?\S)?)\s++{_SIP}/([0-9]++\.[0-9]++)\s*+")
_HEADER = re.compile(rf"^({_TOKEN}+)[ \t]*+:[ \t]*+([^\r\n]*+)\r\n", re.MULTILINE)
_FOLD = re.compile(r"(?<![ \t])[ \t]*+(?:\r\n[ \t]++)++")
_DIGITS = re.compile(r"[0-9]{1,10}")
_USUAL_HOPS = (None, "70", "69", "68")
_NAMES = {"via": "Via", "cseq": "CSeq", "from": "From", "to": "To", "call-id": "Call-ID"}
_NO_HEADERS = Headers()
"""What a message has until its headers are read, which come in place of these."""


def parse_message(data: bytes) -> Request | Response:
    """Parse one message that fills `data` (a datagram, or what the stream framing cut out).

    A body longer than Content-Length is cut, a shorter one is an error (RFC 3261 §18.3). A damaged header
    line that nobody needs is left out.

    Raises:
        SipParseError: and nothing else, for any bytes.
    """
    data = data.lstrip(b"\r\n")
    head, separator, body = data.partition(b"\r\n\r\n")
    encoding = "utf-8"
    try:
        text = head.decode()
    except UnicodeDecodeError:
        text, encoding = head.decode("latin-1"), "latin-1"
    start, _, header_text = text.partition("\r\n")
    message, fault = _start(start, encoding)
    message.body = body
    try:
        if fault is not None:
            _read_headers(message, header_text)
            raise fault
        if not separator:
            raise SipParseError("no empty line behind the headers")
        if len(data) > MAX_MESSAGE_BYTES:
            raise SipParseError("message too large", status=513)
        _read_headers(message, header_text)
        _check(message)
    except SipParseError as error:
        raise _with_request(error, message) from None
    return message


def _start(line: str, encoding: str) -> tuple[Request | Response, SipParseError | None]:
    """Read the start line; a request line with a fault still yields a request to answer."""
    status = _STATUS_LINE.fullmatch(line) if line[3:4] == "/" else None  # a method has no slash
    if status is not None:
        if status[1] != "2.0" or not 100 <= int(status[2]) <= 699:
            raise SipParseError("bad status line")
        return Response(int(status[2]), status[3].strip(), _NO_HEADERS, b"", encoding), None
    request = _REQUEST_LINE.fullmatch(line)
    fault = None
    if request is None:
        request = _LOOSE_REQUEST_LINE.fullmatch(line)
        if request is None:
            raise SipParseError("not a SIP message")
        fault = SipParseError("bad request line")
    elif request[3] != "2.0":
        fault = SipParseError("unknown SIP version", status=505)
    return Request(request[1], request[2], _NO_HEADERS, b"", encoding), fault


def _read_headers(message: Message, text: str) -> None:
    if text.startswith((" ", "\t")):
        raise SipParseError("folded start line")
    text += "\r\n"
    if len(text) > MAX_HEADER_LINE_BYTES and max(map(len, text.split("\r\n"))) > MAX_HEADER_LINE_BYTES:
        _read_some(message, [line for line in text.split("\r\n") if len(line) <= MAX_HEADER_LINE_BYTES])
        raise SipParseError("header line too long", status=513)
    if "\r\n " in text or "\r\n\t" in text:
        text = _FOLD.sub(" ", text)
    lines = text.count("\r\n")
    if lines > MAX_HEADERS:
        _read_some(message, text.split("\r\n", MAX_HEADERS)[:MAX_HEADERS])
        raise SipParseError("too many headers", status=513)
    pairs = _HEADER.findall(text)
    if " \r" in text or "\t\r" in text:
        pairs = [(name, value.rstrip(" \t")) for name, value in pairs]
    message.headers = Headers(pairs)
    # The pattern takes whole lines and skips what it cannot read, so the counts tell whether it read all.
    if not len(pairs) == lines == text.count("\n") == text.count("\r") or has_stray_control(text):
        read_damaged(message, text)


def _read_some(message: Message, lines: list[str]) -> None:
    """Take what is in these lines, so that the sender can be told that there is too much."""
    message.headers = Headers(_HEADER.findall("\r\n".join(lines) + "\r\n"))


def _check(message: Request | Response) -> None:
    headers = message.headers
    first = headers.first
    if headers.has_repeated:
        check_single(message)
    try:
        via = first["via"]
        vias = [via] if "," not in via else split_list(via)
        if not vias or not via.strip():
            raise SipParseError("empty Via")
        message.via = parse_via(vias[0])
        message.cseq = parse_cseq(first["cseq"])
        message.from_ = parse_name_addr(first["from"])
        message.to = parse_name_addr(first["to"])
        message.call_id = first["call-id"]
    except KeyError as missing:
        raise SipParseError(f"{_NAMES[missing.args[0]]} is missing") from None
    if not message.from_.uri or not message.to.uri or not message.call_id.strip():
        raise SipParseError("empty mandatory header")
    if (headers.has_repeated or len(vias) > 1) and len(headers.get_list("Via")) > MAX_VIAS:
        raise SipParseError("too many Via values", status=513)
    if isinstance(message, Request):
        if message.cseq.method != message.method:
            raise SipParseError("CSeq names another method")
        if not message.via.host:
            raise SipParseError("Via without a host")
    if first.get("max-forwards") not in _USUAL_HOPS or "expires" in first:
        drop_unreadable_limits(message)
    length = first.get("content-length")
    if length is not None and length != str(len(message.body)):
        _cut_body(message, length)


def _cut_body(message: Message, value: str) -> None:
    if _DIGITS.fullmatch(value) is None:
        raise SipParseError("bad Content-Length")
    length = int(value)
    if length > len(message.body):
        raise SipParseError("body shorter than Content-Length")
    message.body = message.body[:length]


def _with_request(error: SipParseError, message: Message) -> SipParseError:
    """Attach the request to an error if there is enough of it to answer; an ACK is never answered."""
    if isinstance(message, Request) and message.method != "ACK":
        try:
            if message.via.host:
                error.request = message
        except SipParseError:
            error.request = None
    return error
