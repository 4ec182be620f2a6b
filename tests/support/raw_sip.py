"""A SIP peer on a real socket whose messages the test writes."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import trio
import trio.lowlevel

from vb.sip.message import Headers, Request, Response, response_to
from vb.sip.parser import parse_message

SDP = (
    b"v=0\r\no=- 7 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
)


class RawSip:
    """One caller with one dialog.

    Args:
        sock: a bound UDP socket.
        server: where it calls.
    """

    def __init__(self, sock: trio.socket.SocketType, server: tuple[str, int]) -> None:
        self._socket = sock
        self._server = server
        self._port = int(sock.getsockname()[1])
        self._cseq = 0
        self.call_id = f"raw-{self._port}"
        self.from_tag = f"raw{self._port}"
        self.to_tag = ""

    @property
    def uri(self) -> str:
        """Where the server can call it."""
        return f"sip:raw@127.0.0.1:{self._port}"

    def become_fork(self, invite: Request, tag: str) -> None:
        """Be one of those that the server's INVITE has reached: requests go into that early dialog."""
        self.call_id, self.from_tag, self.to_tag = invite.call_id, tag, invite.from_.tag

    async def request(
        self,
        method: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        cseq: int | None = None,
        branch_of: str | None = None,
    ) -> int:
        """Send a request, inside the dialog once its tag is known; returns its sequence number.

        Args:
            branch_of: the method whose transaction it belongs to, if it is not one of its own.
        """
        message = self._build(method, body, headers, cseq, branch_of)
        await self._send(message)
        return message.cseq.number

    async def request_and_cancel(self, method: str, *, body: bytes = b"") -> int:
        """Send a request and its CANCEL so that they arrive together; returns their sequence number."""
        request = self._build(method, body, None, None, None)
        cancel = self._build("CANCEL", b"", None, request.cseq.number, method)
        with socket.fromfd(self._socket.fileno(), socket.AF_INET, socket.SOCK_DGRAM) as plain:
            for message in (request, cancel):
                plain.sendto(message.to_bytes(), self._server)
        await trio.lowlevel.checkpoint()
        return request.cseq.number

    def _build(
        self,
        method: str,
        body: bytes,
        headers: Mapping[str, str] | None,
        cseq: int | None,
        branch_of: str | None,
    ) -> Request:
        if cseq is None:
            self._cseq += 1
            cseq = self._cseq
        host, port = self._server
        to = f"<sip:room@{host}:{port}>" + (f";tag={self.to_tag}" if self.to_tag else "")
        branch = f"z9hG4bK{self._port}{branch_of or method}{cseq}"
        pairs = [
            ("Via", f"SIP/2.0/UDP 127.0.0.1:{self._port};branch={branch};rport"),
            ("Max-Forwards", "70"),
            ("From", f"<sip:raw@127.0.0.1>;tag={self.from_tag}"),
            ("To", to),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq} {method}"),
            ("Contact", f"<sip:raw@127.0.0.1:{self._port}>"),
            *(headers or {}).items(),
        ]
        if body and "Content-Type" not in (headers or {}):
            pairs.append(("Content-Type", "application/sdp"))
        return Request(method, f"sip:room@{host}:{port}", Headers(pairs), body)

    async def respond(
        self,
        request: Request,
        status: int,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        to_tag: str = "",
    ) -> None:
        """Answer a request of the server; `to_tag` is what makes its answer to an INVITE a dialog."""
        response = response_to(request, status, to_tag=to_tag)
        response.headers.add("Contact", f"<sip:raw@127.0.0.1:{self._port}>")
        for name, value in (headers or {}).items():
            response.headers.add(name, value)
        if body:
            response.headers.add("Content-Type", "application/sdp")
            response.body = body
        await self._send(response)

    async def _send(self, message: Request | Response) -> None:
        await self._socket.sendto(message.to_bytes(), self._server)

    async def wait_status(self, status: int, method: str = "INVITE") -> Response:
        """The next response with a status to a method; other messages are skipped."""
        with trio.fail_after(5):
            while True:
                message = await self._next()
                if isinstance(message, Response) and (message.status, message.cseq.method) == (
                    status,
                    method,
                ):
                    self.to_tag = message.to.tag
                    return message

    async def wait_request(self, method: str) -> Request:
        """The next request with a method; other messages are skipped."""
        with trio.fail_after(5):
            while True:
                message = await self._next()
                if isinstance(message, Request) and message.method == method:
                    return message

    async def _next(self) -> Request | Response:
        data, _ = await self._socket.recvfrom(65536)
        return parse_message(data)


@asynccontextmanager
async def open_raw(uri: str) -> AsyncIterator[RawSip]:
    """A peer that calls a SIP URI, for as long as the block lasts."""
    host, _, port = uri.rpartition("@")[2].rpartition(":")
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", 0))
        yield RawSip(sock, (host, int(port)))
