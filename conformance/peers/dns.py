"""A name server on loopback that answers from a table, and lies where it is told to."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import trio

Lie = Literal[
    "silence", "wrong id", "wrong question", "truncation", "servfail", "refused", "huge", "garbage", "no end"
]


@dataclass
class DnsServer:
    """Its table may be changed at any time.

    Attributes:
        records: texts of the records by name and type.
        lies: what it does in place of the right answer, by name.
        asked: the questions that came, as name and type, with "/tcp" behind those over TCP.
        ttl: of all records.
    """

    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    lies: dict[str, Lie] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    ttl: int = 60
    port: int = 0

    @property
    def address(self) -> str:
        """As a setting names it."""
        return f"127.0.0.1:{self.port}"

    def questions(self, kind: str) -> list[str]:
        """The names that were asked for with a type."""
        return [asked.split()[0] for asked in self.asked if asked.split()[1].removesuffix("/tcp") == kind]

    def answer(self, wire: bytes, *, tcp: bool = False) -> list[bytes]:
        """The messages that answer one."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append(f"{name} {kind}{'/tcp' if tcp else ''}")
        lie = self.lies.get(name)
        reply = self._reply(query, name, kind)
        if lie == "silence":
            return []
        if lie == "garbage":
            return [b"\xff" * 40]
        if lie == "wrong id":
            wrong = reply.to_wire()
            return [bytes([wrong[0] ^ 1]) + wrong[1:]]
        if lie == "wrong question":
            other = dns.message.make_query("other.example.", "A")
            other.id = query.id
            wrong_reply = dns.message.make_response(other)
            wrong_reply.answer.append(dns.rrset.from_text("other.example.", 60, "IN", "A", "192.0.2.66"))
            return [wrong_reply.to_wire()]
        if lie in ("servfail", "refused"):
            reply.set_rcode(dns.rcode.SERVFAIL if lie == "servfail" else dns.rcode.REFUSED)
            reply.answer.clear()
        if lie == "huge":
            many = [f"10.{index >> 8}.{index & 255}.1" for index in range(3900)]
            reply.answer = [dns.rrset.from_text_list(question.name, 60, "IN", "A", many)]
        if lie == "no end" and tcp:
            return [b"\0" * 65_000] * 3
        if not tcp and lie in ("truncation", "huge", "no end"):
            reply.answer.clear()
            reply.flags |= dns.flags.TC
        return [reply.to_wire(max_size=65_535)]

    def _reply(self, query: dns.message.Message, name: str, kind: str) -> dns.message.Message:
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        exists, seen = False, set[str]()
        while (name, "CNAME") in self.records and name not in seen:
            seen.add(name)
            reply.answer.append(self._rrset(name, "CNAME"))
            name, exists = self.records[name, "CNAME"][0].rstrip(".").lower(), True
        if (name, kind) in self.records:
            reply.answer.append(self._rrset(name, kind))
        elif not exists and not any(known == name for known, _ in self.records):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply

    def _rrset(self, name: str, kind: str) -> dns.rrset.RRset:
        return dns.rrset.from_text_list(f"{name}.", self.ttl, "IN", kind, self.records[name, kind])

    async def serve_udp(self, sock: trio.socket.SocketType) -> None:
        """Answers datagrams."""
        while True:
            wire, peer = await sock.recvfrom(4096)
            for message in self.answer(wire):
                await sock.sendto(message, peer)

    async def serve_tcp(self, stream: trio.SocketStream) -> None:
        """Answers what comes over one connection."""
        try:
            while len(head := await stream.receive_some(2)) == 2:
                wire = await stream.receive_some(struct.unpack(">H", head)[0])
                for message in self.answer(bytes(wire), tcp=True):
                    await stream.send_all(struct.pack(">H", len(message)) + message)
        except trio.BrokenResourceError:
            pass  # whoever asked has heard enough


async def _bind() -> tuple[trio.socket.SocketType, trio.SocketListener]:
    """A UDP socket and a TCP listener on one free port."""
    while True:
        sock = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        await sock.bind(("127.0.0.1", 0))
        try:
            (listener,) = await trio.open_tcp_listeners(sock.getsockname()[1], host="127.0.0.1")
        except OSError:  # somebody else has the other one
            sock.close()
            continue
        return sock, listener


@asynccontextmanager
async def open_dns_server(
    records: dict[tuple[str, str], list[str]] | None = None,
) -> AsyncIterator[DnsServer]:
    """Serves on a free port of loopback."""
    server = DnsServer(records or {})
    sock, listener = await _bind()
    server.port = sock.getsockname()[1]
    with sock:
        async with listener, trio.open_nursery() as nursery:
            nursery.start_soon(server.serve_udp, sock)
            await nursery.start(trio.serve_listeners, server.serve_tcp, [listener])
            yield server
            nursery.cancel_scope.cancel()
