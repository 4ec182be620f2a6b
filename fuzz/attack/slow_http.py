"""Slow, endless and broken HTTP: header floods, slow loris, smuggling, requests that stop half-way."""

from __future__ import annotations

import socket
import time

from fuzz.attack.briefing import Address, Briefing, check, figure, pause

CASE = "HTTP abuse"
LORIS = 300
FIRST_REQUEST_S = 20.0

_GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
_POST = b"POST /v1/rooms HTTP/1.1\r\nHost: a\r\n"
_UPGRADE = b"GET /v1/vsi HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

REQUESTS: dict[str, bytes] = {
    "20,000 headers": _GET + b"X: y\r\n" * 20_000 + b"\r\n",
    "a header of 1 MB": _GET + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n",
    "a path of 1 MB": b"GET /" + b"y" * 1_000_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "binary": bytes(range(256)) * 40,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(64),
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/9.9": b"GET /healthz HTTP/9.9\r\nHost: a\r\n\r\n",
    "two lengths": _POST + b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
    "length and chunks": _POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": _POST + b"Content-Length: -5\r\n\r\n",
    "a huge chunk": _POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nab",
    "a bad chunk": _POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nab",
    "odd encodings": _POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "odd hosts": _GET + b"Host: b\r\n\r\n",
    "a folded header": _GET + b"X: y\r\n z\r\n\r\n",
    "an expectation": _POST + b"Expect: 100-continue, x\r\nContent-Length: 2\r\n\r\n{}",
    "a broken upgrade": _UPGRADE + b"Sec-WebSocket-Version: 99\r\n\r\n",
    "an upgrade with odd bytes": _UPGRADE + b"Sec-WebSocket-Key: \xff\r\n\r\n",
    "an h2c upgrade": _GET
    + b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA\r\n\r\n",
    "a method of 10 KB": b"A" * 10_000 + b" / HTTP/1.1\r\nHost: a\r\n\r\n",
    "50 requests at once": (_GET + b"\r\n") * 50,
    "an early end": _POST + b"Content-Length: 1000\r\n\r\n{",
}


def run(briefing: Briefing) -> None:
    """Send everything; the server must answer others throughout."""
    for label, data in REQUESTS.items():
        _send_and_read(briefing.http, label, data)
    _slow_clients(briefing)
    _never_reading(briefing.http)


def _alive(address: Address, label: str) -> float:
    began = time.monotonic()
    try:
        with socket.create_connection(address, timeout=2) as sock:
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            data = sock.recv(4096)
    except OSError as error:
        data = repr(error).encode()
    took_s = time.monotonic() - began
    check(CASE, data.startswith(b"HTTP/1.1 200"), f"/healthz during {label}: {data[:60]!r}")
    check(CASE, took_s < 0.5, f"/healthz during {label}: {took_s * 1000:.0f} ms")
    return took_s


def _send_and_read(address: Address, label: str, data: bytes) -> None:
    answer = b""
    with socket.create_connection(address, timeout=2) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while chunk := sock.recv(65536):
                answer += chunk
        except OSError:
            pass
    status = answer[9:12]
    check(CASE, not status.startswith(b"5") or status == b"501", f"{label}: {answer[:60]!r}")
    _alive(address, label)


def _slow_clients(briefing: Briefing) -> None:
    """Headers that never end, bodies that never come: others are served, and the slow ones are let go."""
    socks = []
    for index in range(LORIS):
        sock = socket.create_connection(briefing.http, timeout=2)
        sock.sendall(
            b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: "
            if index % 2
            else b"POST /v1/rooms HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"
        )
        socks.append(sock)
    slowest = 0.0
    deadline = time.monotonic() + (1.0 if briefing.quick else FIRST_REQUEST_S)
    while time.monotonic() < deadline:
        slowest = max(slowest, _alive(briefing.http, f"{LORIS} slow clients"))
        for sock in socks:
            try:
                sock.send(b"y")
            except OSError:
                pass
        pause(0.5)
    closed = 0
    for index, sock in enumerate(socks):
        sock.settimeout(0.01)
        try:
            while sock.recv(4096):
                pass
            closed += index % 2
        except TimeoutError:
            pass
        except OSError:
            closed += index % 2
    figure(CASE, f"{LORIS} slow clients: /healthz within {slowest * 1000:.0f} ms")
    if not briefing.quick:
        check(
            CASE,
            closed == LORIS // 2,
            f"{closed} of {LORIS // 2} endless headers were cut within {FIRST_REQUEST_S:.0f} s",
        )
    for sock in socks:
        sock.close()


def _never_reading(address: Address) -> None:
    """Asks for large documents again and again and reads nothing."""
    socks = []
    for _ in range(20):
        sock = socket.create_connection(address, timeout=2)
        sock.setblocking(False)
        try:
            for _ in range(50):
                sock.send(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 10)
        except OSError:
            pass
        socks.append(sock)
    pause(0.5)
    _alive(address, "clients that never read")
    for sock in socks:
        sock.close()
