"""S23, S28: WebSocket frames that lie, clients that never read, and regular expressions that never end."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import time
from collections.abc import Callable
from urllib.parse import quote

from fuzz.attack.briefing import Address, Briefing, check, figure, pause

S23, S28 = "S23 hostile WebSockets", "S28 hostile patterns"

PATTERNS = [
    "(a+)+$", "(a|a)*b", "(a|aa)+$", "(.*)*x", "((a*)*)*b", "(.?){50}.{50}x", "a{1000}{1000}",
    "(a{1,100}){1,100}", "((((((((((a{2}){2}){2}){2}){2}){2}){2}){2}){2}){2}",
    "(?=a)", "(a)\\1", "(?<=a)b", "[", "(", ")", "*", "\\", "a{2,1}", "[z-a]", "(?P<x>a)(?P=x)", "(" * 300,
    "(" * 49 + "a" + ")*" * 49, "a" * 300, "|" * 250,
    "(|a|)*" * 30, "\\pL", "\\x{110000}", "[[:foo:]]", "(?i)" * 60, "\x00", "é*", "\\Q" + "*" * 100,
    "^$" * 120, "(\\b)*", "[^\\d\\D]", "a**", "a*+", "a{,5}", "a{1001}",
]  # fmt: skip


class Client:
    """A raw WebSocket client that may break every rule."""

    def __init__(
        self, address: Address, query: str = "", extra: bytes = b"", *, path: str = "/v1/vsi"
    ) -> None:
        self.sock = socket.create_connection(address, timeout=3)
        key = base64.b64encode(os.urandom(16))
        self.sock.sendall(
            f"GET {path}{query}".encode()
            + b" HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n" + extra + b"\r\n"
        )
        self.head = b""
        while b"\r\n\r\n" not in self.head:
            chunk = self.sock.recv(1)
            if not chunk:
                break
            self.head += chunk

    @property
    def status(self) -> int:
        """Of the handshake."""
        return int(self.head.split(b" ")[1]) if self.head.startswith(b"HTTP/1.1 ") else 0

    def frame(
        self,
        opcode: int,
        payload: bytes = b"",
        *,
        fin: bool = True,
        masked: bool = True,
        length: int | None = None,
        rsv: int = 0,
    ) -> bool:
        """Send a frame; False when the server has closed."""
        size = len(payload) if length is None else length
        head = bytes([(0x80 if fin else 0) | rsv | opcode])
        mask_bit = 0x80 if masked else 0
        if size < 126:
            head += bytes([mask_bit | size])
        elif size < 65536:
            head += bytes([mask_bit | 126]) + struct.pack("!H", size)
        else:
            head += bytes([mask_bit | 127]) + struct.pack("!Q", size)
        if masked:
            head += b"\0\0\0\0"
        try:
            self.sock.sendall(head + payload)
        except OSError:
            return False
        return True

    def close_code(self, wait_s: float = 3.0) -> int | None:
        """Code of the server's close frame, 0 when it just closed, None when it stayed."""
        deadline, data = time.monotonic() + wait_s, b""
        while True:
            self.sock.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                chunk = self.sock.recv(65536)
            except TimeoutError:
                return None
            except OSError:
                chunk = b""
            if not chunk:
                return _code_in(data)
            data += chunk
            if (code := _code_in(data)) or time.monotonic() > deadline:
                return code or None

    def close(self) -> None:
        """Drop the connection."""
        self.sock.close()


def _code_in(data: bytes) -> int:
    """Code of the first close frame among unmasked server frames, else 0."""
    at = 0
    while at + 2 <= len(data):
        size, start = data[at + 1] & 0x7F, at + 2
        if size == 126:
            size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        elif size == 127:
            size, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
        if data[at] & 0x0F == 8:
            return int.from_bytes(data[start : start + 2], "big")
        at = start + size
    return 0


def run(briefing: Briefing) -> None:
    """Attack the event stream."""
    broken_frames(briefing.http, "/v1/vsi")
    endless_fragments(briefing.http, "/v1/vsi")
    _hostile_commands(briefing.http)
    _patterns(briefing.http)
    _never_reading(briefing)


def broken_frames(address: Address, path: str) -> None:
    """Send each frame that breaks a rule, and see with which code that ends."""
    cases: dict[str, tuple[int, Callable[[Client], object]]] = {
        "a frame of 1 GB": (1009, lambda c: c.frame(1, b"x" * (3 << 20), length=1 << 30)),
        "a frame of 2^63": (1009, lambda c: c.frame(1, b"x" * (3 << 20), length=(1 << 63) - 1)),
        "an unmasked frame": (1002, lambda c: c.frame(1, b"{}", masked=False)),
        "a reserved opcode": (1002, lambda c: c.frame(3, b"{}")),
        "a reserved bit": (1002, lambda c: c.frame(1, b"{}", rsv=0x40)),
        "a fragmented ping": (1002, lambda c: c.frame(9, b"x", fin=False)),
        "a long ping": (1002, lambda c: c.frame(9, b"x" * 126)),
        "a lost continuation": (1002, lambda c: c.frame(0, b"x")),
        "a text within a text": (1002, lambda c: c.frame(1, b"{", fin=False) and c.frame(1, b"}")),
        "invalid UTF-8": (1007, lambda c: c.frame(1, b"\xff\xfe")),
        "a bad close code": (1002, lambda c: c.frame(8, b"\x00\x01")),
        "a close of one byte": (1002, lambda c: c.frame(8, b"\x03")),
        "2 MB of text": (1009, lambda c: c.frame(1, b" " * (2 << 20))),
    }
    codes = []
    for label, (wanted, act) in cases.items():
        client = Client(address, path=path)
        act(client)
        code = client.close_code()
        codes.append(f"{label}: {code}")
        check(S23, code == wanted, f"{label}: close {code}, wanted {wanted}")
        client.close()
    figure(S23, ", ".join(codes))


def endless_fragments(address: Address, path: str) -> None:
    """Send messages that never end, and ask for compression."""
    client = Client(address, path=path)
    client.frame(1, b"x", fin=False)
    sent = 0
    while sent < 64 << 20 and client.frame(0, b"x" * 60_000, fin=False):
        sent += 60_000
    code = client.close_code()
    check(S23, code in (1009, 0), f"endless fragments: close {code}, wanted 1009 (or a reset behind it)")
    client.close()
    client = Client(address, path=path)
    client.frame(1, b"", fin=False)
    alive = all(client.frame(0, b"", fin=False) for _ in range(50_000))
    empty = "taken" if alive else "cut"
    figure(S23, f"{sent >> 20} MiB of endless fragments: close {code}; 50,000 empty ones: {empty}")
    client.close()
    client = Client(address, extra=b"Sec-WebSocket-Extensions: permessage-deflate\r\n", path=path)
    check(
        S23, b"permessage-deflate" not in client.head.lower(), "compression was agreed, so a bomb may follow"
    )
    client.close()


def _hostile_commands(address: Address) -> None:
    client = Client(address)
    deep = '{"type":"create_room","payload":' + "[" * 100_000 + "]" * 100_000 + "}"
    frames = [
        "", "x", "[]", "1", deep, '{"type":1}', '{"type":"x"}', '{"type":"' + "x" * 500_000 + '"}',
        '{"type":"create_room","request_id":[]}',
        '{"type":"create_room","request_id":"\\ud800","payload":{"id":"\\ud800"}}',
        '{"type":"create_leg","payload":"x"}', '{"type":null,"payload":null}',
        '{"type":"create_leg","payload":{"type":"sip","to":"sip:a@127.0.0.1:9","headers":{"X":"a\\r\\nb"}}}',
        '{"type":"__init__"}', '{"type":"get_leg"}',
        '{"type":"get_leg","payload":{"id":{}}}',
        '{"type":"get_leg","payload":{"id":"' + "x" * 100_000 + '"}}',
        '{"type":"delete_leg","payload":{"id":NaN}}',
    ]  # fmt: skip
    for text in frames:
        client.frame(1, text.encode("utf-8", "surrogatepass"))
        client.frame(2, text.encode("utf-8", "surrogatepass"))
    client.frame(1, json.dumps({"type": "get_leg", "request_id": "last", "payload": {"id": "no"}}).encode())
    data, deadline = b"", time.monotonic() + 3
    client.sock.settimeout(0.5)
    while b'"last"' not in data and time.monotonic() < deadline:
        try:
            chunk = client.sock.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            break
        if not chunk:
            break
        data += chunk
    check(S23, b'"last"' in data, "a connection died of hostile commands instead of getting errors")
    client.close()


def _patterns(address: Address) -> None:
    taken = refused = 0
    slowest = 0.0
    for pattern in PATTERNS:
        began = time.monotonic()
        client = Client(address, f"?app_id={quote(pattern)}")
        took_s = time.monotonic() - began
        slowest = max(slowest, took_s)
        check(S28, client.status in (101, 400), f"{pattern[:40]!r}: status {client.status}")
        check(S28, took_s < 0.5, f"{pattern[:40]!r}: upgrade took {took_s * 1000:.0f} ms")
        if client.status == 101:
            taken += 1
            began = time.monotonic()
            client.frame(
                1, json.dumps({"type": "create_room", "payload": {"app_id": "a" * 2000 + "!"}}).encode()
            )
            client.frame(
                1, json.dumps({"type": "create_room", "payload": {"app_id": "a" * 300 + "!"}}).encode()
            )
            client.frame(1, json.dumps({"type": "get_leg", "payload": {"id": "no"}}).encode())
            data = b""
            client.sock.settimeout(3)
            try:
                while b"404" not in data:
                    chunk = client.sock.recv(65536)
                    if not chunk:
                        break
                    data = data[-100:] + chunk
            except OSError:
                pass
            took_s = time.monotonic() - began
            slowest = max(slowest, took_s)
            check(
                S28,
                took_s < 0.5,
                f"{pattern[:40]!r}: matching held the connection for {took_s * 1000:.0f} ms",
            )
        else:
            refused += 1
        client.close()
    figure(S28, f"{taken} patterns taken, {refused} refused, the slowest step {slowest * 1000:.0f} ms")


def _never_reading(briefing: Briefing) -> None:
    """Clients that ask much and read nothing, and one that pings without end."""
    clients = [Client(briefing.http) for _ in range(10)]
    listing = json.dumps({"type": "list_rooms", "request_id": "r" * 1000}).encode()
    sent = 0
    for client in clients:
        client.sock.setblocking(False)
    deadline = time.monotonic() + (2 if briefing.quick else 8)
    while time.monotonic() < deadline and clients:
        for client in list(clients):
            try:
                client.sock.send(
                    bytes([0x81, 0xFE]) + struct.pack("!H", len(listing)) + b"\0\0\0\0" + listing
                )
                sent += 1
            except BlockingIOError:
                continue
            except OSError:
                clients.remove(client)
        if not sent % 200:
            pause(0.001)
    figure(
        S23, f"10 clients that never read sent {sent} commands; {10 - len(clients)} were cut off meanwhile"
    )
    for client in clients:
        client.close()
    pinger = Client(briefing.http)
    pings = sum(pinger.frame(9, b"x" * 125) for _ in range(2_000 if briefing.quick else 20_000))
    figure(S23, f"{pings} pings without reading")
    pinger.close()
