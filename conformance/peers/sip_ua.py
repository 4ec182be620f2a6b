"""A scripted SIP user agent: one local address and the calls on it; here over UDP."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from conformance.expect import Difference
from conformance.peers.mailbox import Mailbox
from conformance.peers.sip_call import Call
from conformance.peers.sip_message import BadSip, SipMessage, read_message, write_message

Address = tuple[str, int]
MAX_CALLS = 500


class SipUa:
    """A peer with one local address. It does nothing by itself but repeat replies to repeated messages.

    With ``drops_next`` the next thing that comes over a connection breaks it unread, as if it had been dead.
    ``connected`` is set once the server has connected to one that listens.
    """

    def __init__(
        self,
        local: Address,
        server: Address,
        transport: str,
        send: Callable[[bytes, Address], Awaitable[None]],
    ) -> None:
        self.local = local
        self.server = server
        self.transport = transport
        self.incoming: Mailbox[Call] = Mailbox()
        self.strays: Mailbox[SipMessage] = Mailbox()
        self.unreadable: list[bytes] = []
        self.calls: dict[str, Call] = {}
        self.drops_next = False
        self.connected = trio.Event()
        self._send = send

    @property
    def host_port(self) -> str:
        """The address as it stands in headers."""
        return _bracketed(self.local)

    @property
    def server_host_port(self) -> str:
        return _bracketed(self.server)

    async def send(self, data: bytes, to: Address | None = None) -> None:
        """Puts bytes on the wire."""
        await self._send(data, to or self.server)

    def via(self, branch: str | None = None) -> str:
        """A Via value with a fresh branch unless one is given."""
        branch = branch or "z9hG4bK" + secrets.token_hex(8)
        return f"SIP/2.0/{self.transport} {self.host_port};branch={branch};rport"

    def new_call(self, name: str, to_user: str = "room") -> Call:
        """A call that this peer is about to place; nothing is sent yet."""
        if len(self.calls) >= MAX_CALLS:
            raise RuntimeError("too many calls on one peer")
        call = Call(
            self,
            call_id=f"{secrets.token_hex(8)}@{self.local[0]}",
            name=name,
            local_uri=f"<sip:{name}@{self.host_port}>",
            remote_uri=f"<sip:{to_user}@{self.server_host_port}>",
            request_uri=f"sip:{to_user}@{self.server_host_port}",
        )
        self.calls[call.call_id] = call
        return call

    async def next_call(self, within_s: float = 2.0) -> Call:
        """The next call that the server places to this peer, with its INVITE read.

        Raises:
            Difference: when no INVITE comes in time.
        """
        call = await self.incoming.take(lambda _: True, within_s)
        if call is None:
            raise Difference(f"sip {self.host_port}", "an INVITE", f"none within {within_s} s")
        return call

    async def no_call(self, for_s: float) -> None:
        """Checks that no new INVITE comes for a while.

        Raises:
            Difference: when one does.
        """
        call = await self.incoming.take(lambda _: True, for_s)
        if call is not None:
            raise Difference(
                f"sip {self.host_port}", "no INVITE", call.invite.start_line if call.invite else ""
            )

    async def on_message(self, data: bytes, source: Address) -> None:
        """Routes one message to its call."""
        if not data.strip(b"\r\n\0 "):
            return
        try:
            message = read_message(data, source)
            call = self.calls.get(message.call_id)
            _ = (message.cseq, message.from_tag, message.to_tag)
        except (BadSip, ValueError):
            self.unreadable.append(data)
            return
        if call is None and message.is_request and message.method == "INVITE":
            call = Call.from_invite(self, message)
            self.calls[call.call_id] = call
            call.first_invite(message)
            self.incoming.put(call)
        elif call is None:
            self.strays.put(message)
        else:
            await call.on_message(message)

    async def outside_dialog(self, method: str, headers: list[tuple[str, str]], body: bytes = b"") -> Call:
        """Sends one request of any method outside any dialog; the response comes to the returned call."""
        call = self.new_call(f"{method.lower()}-peer")
        await call.send_request(method, headers=headers, body=body, request_uri=call.request_uri)
        return call


def _bracketed(address: Address) -> str:
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{host}:{address[1]}"


@asynccontextmanager
async def open_udp(server: Address, host: str | None = None) -> AsyncIterator[SipUa]:
    """A UDP peer on a free port of ``host`` (the loopback address of the server's family by default)."""
    ipv6 = ":" in server[0]
    host = host or ("::1" if ipv6 else "127.0.0.1")
    sock = trio.socket.socket(trio.socket.AF_INET6 if ipv6 else trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
    await sock.bind((host, 0))

    async def send(data: bytes, to: Address) -> None:
        await sock.sendto(data, to)

    ua = SipUa((host, sock.getsockname()[1]), server, "UDP", send)

    async def read() -> None:
        while True:
            try:
                data, source = await sock.recvfrom(65535)
            except ConnectionRefusedError:
                continue
            await ua.on_message(data, (source[0], source[1]))

    with sock:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            yield ua
            nursery.cancel_scope.cancel()


def plain_request(
    ua: SipUa,
    method: str,
    *,
    omit: tuple[str, ...] = (),
    extra: tuple[tuple[str, str], ...] = (),
    body: bytes = b"",
) -> tuple[bytes, Call]:
    """A request that a proper call would never send; headers in ``omit`` are left out."""
    call = ua.new_call("oddity")
    headers = [
        ("Via", ua.via()),
        ("Max-Forwards", "70"),
        ("From", f"{call.local_uri};tag={call.local_tag}"),
        ("To", call.remote_uri),
        ("Call-ID", call.call_id),
        ("CSeq", f"1 {method}"),
        ("Contact", call.contact),
        *extra,
    ]
    kept = [(name, value) for name, value in headers if name not in omit]
    return write_message(f"{method} {call.request_uri} SIP/2.0", kept, body), call
