"""A name server on loopback that answers from a table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import trio

Records = Mapping[tuple[str, str], Sequence[str]]
"""Texts of the records by name and type."""


class NameServer:
    """Its port, and the questions that came, as name and type."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[tuple[str, str]] = []

    def answer(self, wire: bytes, records: Records) -> bytes:
        """Answers one question."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        reply = dns.message.make_response(query)
        if (name, kind) in records:
            reply.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", kind, records[name, kind]))
        elif not any(known == name for known, _ in records):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply.to_wire()


@asynccontextmanager
async def open_name_server(records: Records) -> AsyncIterator[NameServer]:
    """Serves over UDP on a free port."""
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", 0))
        server = NameServer(sock.getsockname()[1])

        async def serve(*, task_status: trio.TaskStatus[None]) -> None:
            task_status.started()
            while True:
                wire, peer = await sock.recvfrom(4096)
                await sock.sendto(server.answer(wire, records), peer)

        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            yield server
            nursery.cancel_scope.cancel()
