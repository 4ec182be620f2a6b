"""WhatsApp users as a load: the provider's edge, which the server calls over TLS, and the media of each call.

Started with the edge's port, certificate and key, the address of the server's REST, the number of legs, the
level of their tones, and how many share a room. It says `up` when all are connected, and at a byte of
standard input what it has counted and heard; ends then.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Final

from bench.host import raise_open_files
from bench.load.sip import CRLF, Received, agree, read_message
from bench.load.talking import post
from bench.load.webrtc import Leg, Load, talk_and_tell
from conformance.peers.digest import challenge, is_right
from conformance.peers.sip_message import split_stream

HOST: Final = "127.0.0.1"
US: Final = "+4930654321"
PASSWORD: Final = "open sesame"
ANSWER_S: Final = 10.0
READ_BYTES: Final = 65_536


class Edge:
    """The provider's end of the server's connection, on which calls come one after the other.

    Args:
        port: where it listens.
        certificate: file with its certificate.
        key: file with its key.
    """

    def __init__(self, port: int, certificate: str, key: str) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._listener = socket.create_server((HOST, port))
        self._listener.settimeout(ANSWER_S)
        self._contact = f"Contact: <sip:edge@{HOST}:{port};transport=tls>"
        self._stream: ssl.SSLSocket | None = None
        self._held = b""

    def take(self, answer: Callable[[bytes], bytes]) -> None:
        """Take a call that was placed: ask for a digest, and answer.

        Args:
            answer: turns the offer into ours.

        Raises:
            SystemExit: the server does not do its part.
        """
        tag = secrets.token_hex(4)
        proof = f"Proxy-Authenticate: {challenge(secrets.token_hex(8))}"
        self._send(agree(self._next("INVITE"), "407 Proxy Authentication Required", tag=tag, extra=(proof,)))
        self._next("ACK")
        invite = self._next("INVITE")
        if not is_right(invite.header("proxy-authorization"), "INVITE", PASSWORD):
            sys.exit("the digest is wrong")
        described = (self._contact, "Content-Type: application/sdp")
        body = answer(invite.body.encode()).decode()
        self._send(agree(invite, tag=tag, extra=described, body=body))
        self._next("ACK")

    def _send(self, data: bytes) -> None:
        assert self._stream is not None
        self._stream.sendall(data)

    def _next(self, method: str) -> Received:
        """Wait for a request of a method, which is the next one."""
        if self._stream is None:
            plain, _ = self._listener.accept()
            plain.settimeout(ANSWER_S)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._stream = self._context.wrap_socket(plain, server_side=True)
        while True:
            data, self._held = split_stream(self._held)
            if data is not None:
                break
            more = self._stream.recv(READ_BYTES)
            if not more:
                sys.exit("the server has closed the connection")
            self._held += more
        found = read_message(data)
        if found is None or found.method != method or found.status:
            sys.exit(f"no {method} came: {data.partition(CRLF.encode())[0].decode(errors='replace')}")
        return found


def main() -> None:
    """Run until told to stop."""
    raise_open_files()
    port, certificate, key, url, legs, amplitude, room_size = sys.argv[1:]
    edge = Edge(int(port), certificate, key)

    def be_called(leg: Leg, room: str) -> None:
        request = {"type": "whatsapp", "to": f"+493012345{leg.ssrc:04}", "from": US, "room_id": room}
        post(url, "/legs", {**request, "auth": {"password": PASSWORD}})
        edge.take(leg.answer)

    load = Load(int(legs), float(amplitude), int(legs), calls=False)
    load.connect(int(room_size), be_called)
    talk_and_tell(load)


if __name__ == "__main__":
    main()
