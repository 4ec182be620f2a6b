"""S22, S26: bodies that are no JSON, too much of it, or JSON of the wrong shape, for every operation."""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

from fuzz.attack.briefing import Briefing, check, figure, pause

S22, S26 = "S22 hostile JSON", "S26 header injection"
MAX_ANSWER_S = 0.05
TRIES = 3
REST_S = 0.5
"""The machine may be busy for a moment: the best of so many answers has to be quick."""
BODY_MIB = 100

RAW_BODIES: dict[str, bytes] = {
    "no JSON": b"hello", "half an object": b'{"a":', "an array": b"[]", "a string": b'"x"',
    "a number": b"1", "true": b"true",
    "nothing but blanks": b" \n", "two objects": b"{}{}", "NaN": b'{"volume":NaN}',
    "Infinity": b'{"volume":-Infinity}',
    "1e999": b'{"volume":1e999,"ring_timeout":1e999}',
    "a deep array": b'{"id":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "unclosed depth": b"[" * 500_000,
    "a lone surrogate": b'{"id":"\\ud800","leg_id":"\\udfff"}', "a lone surrogate as key": b'{"\\ud800":1}',
    "invalid UTF-8": b'{"id":"\xff\xfe"}', "UTF-16": '{"id":"a"}'.encode("utf-16"),
    "a BOM": b"\xef\xbb\xbf{}", "NULs": b'{"id":"a\\u0000b"}',
    "raw controls": b'{"id":"a\x01b"}', "a huge integer": b'{"ring_timeout":' + b"9" * 100_000 + b"}",
    "a long integer": b'{"ring_timeout":' + b"9" * 4000 + b"}",
    "a huge float": b'{"volume":0.' + b"1" * 500_000 + b"}",
    "duplicate keys": b'{"type":"sip","type":"websocket","to":"sip:a@127.0.0.1:9","to":1}',
    "60,000 keys": b"{" + b",".join(b'"k%d":%d' % (n, n) for n in range(60_000)) + b"}",
    "10,000 keys": b"{" + b",".join(b'"k%d":%d' % (n, n) for n in range(10_000)) + b"}",
    "a long key": b'{"' + b"k" * 900_000 + b'":1}', "a form": b"id=1&x=2",
    "a long string": b'{"id":"' + b"x" * 1_000_000 + b'"}',
}  # fmt: skip

ROOMS_MADE = {"nothing but blanks", "1e999", "a long integer", "a huge float", "10,000 keys", "a long key"}
"""Bodies that are JSON objects with nothing but unknown fields, which `POST /v1/rooms` ignores: 201."""

VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**300, 0.5, 1e308, -0.0, "", " ", "a",
    "\x00", "\r\nX: y", "\u2028", "💥" * 20,
    "x" * 70_000, "../../etc/passwd", "sip:", "http://", "file:///etc/passwd", [], [None], [[]], [{}],
    ["a"] * 2000, {}, {"": None}, {"a": {"b": []}},
]  # fmt: skip

PATHS = [
    "/", "//", "/v1", "/v1/", "/v1//legs", "/v1/legs/", "/v1/legs/%00", "/v1/legs/%2e%2e",
    "/v1/legs/../legs", "/v1/legs/%2F", "/v1/legs/%ff%fe", "/v1/legs/%",
    "/v1/legs/%zz", "/v1/legs/" + "a" * 8000, "/v1/legs/" + "a/" * 2000,
    "/v1/legs/\u00e9".encode().decode("latin-1"), "/v1/legs?" + "a=b&" * 5000,
    "/v1/legs/x/play/%0d%0aX:1", "/v1/rooms/.", "/v1/rooms/ ", "*", "http://127.0.0.1/v1/legs",
    "/v1/legs;x=1", "/v1/legs#x", "/metrics/../v1/legs", "/v1/LEGS",
    "/v1/vsi", "/v1/legs/" + "%f0%9f%92%a5" * 50, "/openapi.json?" + "%" * 100, "/v1/rooms/__proto__",
    "/v1/rooms/" + "0" * 300,
]  # fmt: skip


class Client:
    """One kept connection, opened again when the server has closed it."""

    def __init__(self, briefing: Briefing) -> None:
        self._address = briefing.http
        self._connection = self._open()
        self.statuses: Counter[int] = Counter()
        self.slowest_s = 0.0

    def _open(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self._address, timeout=10)

    def ask(self, method: str, path: str, body: bytes | None) -> int:
        """Status of the answer; 0 when the connection was closed instead."""
        began = time.monotonic()
        status = 0
        for _ in range(2):
            try:
                self._connection._encode_request = lambda request: request.encode("latin-1")  # type: ignore[attr-defined]
                self._connection.putrequest(method, path, skip_accept_encoding=True)
                self._connection.putheader("Content-Type", "application/json")
                self._connection.putheader("Content-Length", str(len(body or b"")))
                self._connection.endheaders(body)
                reply = self._connection.getresponse()
                reply.read()
                status = reply.status
                break
            except (http.client.HTTPException, OSError):
                self._connection.close()
                self._connection = self._open()
        self.statuses[status] += 1
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        return status


def run(briefing: Briefing) -> None:
    """Attack every operation that /openapi.json names."""
    http.client._contains_disallowed_url_pchar_re = _AllowAll()  # type: ignore[attr-defined]  # bad paths are the point
    random = Random(briefing.seed)
    client = Client(briefing)
    document = _document(briefing)
    _raw_bodies(client, random, document, briefing.quick)
    _wrong_types(client, random, document, briefing.quick)
    _bad_paths(client)
    _injected_headers(client)
    slowest_ms = client.slowest_s * 1000
    figure(S22, f"answers {dict(sorted(client.statuses.items()))}, the slowest after {slowest_ms:.0f} ms")
    _endless_body(briefing)


class _AllowAll:
    """Stands for the pattern of characters that a client refuses to send."""

    def search(self, _text: str) -> None:
        """Find nothing."""


def _document(briefing: Briefing) -> dict[str, Any]:
    connection = http.client.HTTPConnection(*briefing.http, timeout=10)
    connection.request("GET", "/openapi.json")
    document: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path.startswith("/v1/") and path != "/v1/vsi":
                yield method.upper(), path, operation


def _fields(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    reference = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = document["components"]["schemas"].get(reference, schema).get("properties", {})
    return found


def _fill(path: str, value: str) -> str:
    return "/".join(value if part.startswith("{") else part for part in path.split("/"))


def _judge(client: Client, label: str, method: str, path: str, body: bytes | None) -> int:
    """Ask until an answer is quick enough, a few times at most; returns the last status."""
    for left in reversed(range(TRIES)):
        began = time.monotonic()
        status = client.ask(method, path, body)
        took_s = time.monotonic() - began
        if took_s < MAX_ANSWER_S or not left:
            break
        pause(REST_S)  # what is slow by itself is slow a moment later, too
    check(S22, status < 500 or status in (501, 503), f"{label}: status {status}")
    check(S22, took_s < MAX_ANSWER_S, f"{label}: answered after {took_s * 1000:.0f} ms")
    return status


def _raw_bodies(client: Client, random: Random, document: dict[str, Any], quick: bool) -> None:
    operations = list(_operations(document))
    for label, body in RAW_BODIES.items():
        status = _judge(client, f"{label} to POST /v1/rooms", "POST", "/v1/rooms", body)
        expected = 201 if label in ROOMS_MADE else 400
        check(S22, status == expected, f"{label} to POST /v1/rooms: status {status}, not {expected}")
        status = _judge(client, f"{label} to POST /v1/legs", "POST", "/v1/legs", body)
        check(S22, status == 400, f"{label} to POST /v1/legs: status {status}, not 400")
        for method, path, _ in random.sample(operations, 1 if quick else 4):
            _judge(client, f"{label} to {method} {path}", method, _fill(path, "nothing"), body)


def _wrong_types(client: Client, random: Random, document: dict[str, Any], quick: bool) -> None:
    """Each field of each operation gets each odd value, beside values that fit the other fields."""
    asked = 0
    for method, path, operation in _operations(document):
        fields = _fields(document, operation)
        for name in fields:
            for value in random.sample(VALUES, 4) if quick else VALUES:
                body = {**_plausible(fields), name: value}
                label = f"{name}={str(value)[:40]!r} to {method} {path}"
                _judge(client, label, method, _fill(path, "nothing"), json.dumps(body).encode())
                asked += 1
    figure(S22, f"{asked} requests with one odd field each")


def _plausible(fields: dict[str, Any]) -> dict[str, Any]:
    known = {
        "type": "sip",
        "to": "sip:nobody@127.0.0.1:9",
        "leg_id": "nothing",
        "tone": "busy",
        "volume": 0,
        "storage": "file",
    }
    return {name: value for name, value in known.items() if name in fields}


def _bad_paths(client: Client) -> None:
    for path in PATHS:
        for method in ("GET", "POST", "DELETE", "BREW"):
            _judge(client, f"{method} {path[:60]}", method, path, b"{}" if method == "POST" else None)


def _injected_headers(client: Client) -> None:
    evil = ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rb", "a\x00b", "a\u2028b", "\ud800"]
    for text in evil:
        for field in (
            {"from": text},
            {"headers": {"X-A": text}},
            {"headers": {text: "a"}},
            {"privacy": text},
            {"to": f"sip:{text}@127.0.0.1:9"},
            {"to": f'"{text}" <sip:nobody@127.0.0.1:9>'},
            {"auth": {"username": text, "password": "p"}},
            {"auth": {"username": "u", "password": text}},
        ):
            body = {"type": "sip", "to": "sip:nobody@127.0.0.1:9", **field}
            status = client.ask("POST", "/v1/legs", json.dumps(body).encode())
            check(S26, 400 <= status < 500, f"{field!r} got {status}")


def _endless_body(briefing: Briefing) -> None:
    """A body of 100 MiB in chunks, and one that is announced: refused early, not collected."""
    for chunked in (True, False):
        connection = http.client.HTTPConnection(*briefing.http, timeout=10)
        connection.putrequest("POST", "/v1/rooms")
        connection.putheader("Content-Type", "application/json")
        connection.putheader(
            *(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(BODY_MIB << 20)))
        )
        began, sent = time.monotonic(), 0
        piece = b" " * (1 << 20)
        try:
            connection.endheaders()
            while sent < BODY_MIB:
                connection.send(b"100000\r\n" + piece + b"\r\n" if chunked else piece)
                sent += 1
        except OSError:
            pass
        try:
            status = connection.getresponse().status
        except (http.client.HTTPException, OSError):
            status = 0
        took_s = time.monotonic() - began
        how = "in chunks" if chunked else "announced"
        check(S22, status in (413, 400, 0), f"100 MiB {how}: {status}")
        figure(S22, f"100 MiB {how}: {status or 'closed'}, {sent} MiB sent in {took_s * 1000:.0f} ms")
        connection.close()
