"""STUN and TURN servers as the setting names them.

Spec: RFC 7064, RFC 7065; with `user:password@` before the host of a TURN server. `turns:` is TURN over TLS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote

DEFAULT_PORT: Final = 3478
DEFAULT_TLS_PORT: Final = 5349
NONE: Final = "none"
"""In place of a list: there are no servers."""

_URL: Final = re.compile(
    r"(?P<scheme>stun|turns?):(?:(?P<user>[^@:]+):(?P<password>[^@]*)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?(?:\?transport=(?P<transport>udp|tcp))?"
)


class IceServerError(ValueError):
    """The text names no server that can be used; it does not repeat a password."""


@dataclass(frozen=True, slots=True)
class StunServer:
    """Tells how a socket looks from outside."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class TurnServer:
    """Relays, over UDP, TCP or TLS.

    Attributes:
        stream: over TCP.
        tls: protected by TLS, over TCP; the server's certificate must be of this name.
    """

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    stream: bool = False
    tls: bool = False


@dataclass(frozen=True, slots=True)
class IceServers:
    """All servers of the setting."""

    stun: tuple[StunServer, ...] = ()
    turn: tuple[TurnServer, ...] = ()

    @classmethod
    def parse(cls, urls: Iterable[str]) -> IceServers:
        """Read the items of the setting.

        Raises:
            IceServerError: one of them cannot be used.
        """
        stun: list[StunServer] = []
        turn: list[TurnServer] = []
        for number, url in enumerate(urls, 1):
            if url == NONE:
                continue
            found = _URL.fullmatch(url)
            if found is None:
                raise IceServerError(f"item {number} is not stun:host:port or turn:user:password@host:port")
            tls = found["scheme"] == "turns"
            host = found["host"].strip("[]")
            port = int(found["port"] or (DEFAULT_TLS_PORT if tls else DEFAULT_PORT))
            if not 0 < port < 65_536:
                raise IceServerError(f"item {number} has no port from 1 to 65535")
            if found["scheme"] == "stun":
                if found["user"] or found["transport"]:
                    raise IceServerError(f"item {number}: a stun: server has neither user nor transport")
                stun.append(StunServer(host, port))
                continue
            if tls and found["transport"] == "udp":
                raise IceServerError(f"item {number}: a turns: server is reached over TCP only")
            if not found["user"]:
                raise IceServerError(f"item {number}: a turn: server needs user:password@ before its host")
            turn.append(
                TurnServer(
                    host,
                    port,
                    unquote(found["user"]),
                    unquote(found["password"]),
                    tls or found["transport"] == "tcp",
                    tls,
                )
            )
        return cls(tuple(stun), tuple(turn))

    def within_reach(self, local_host: str) -> IceServers:
        """Return those that a socket of this address can reach: from loopback only loopback itself."""
        if not ip_address(local_host).is_loopback:
            return self
        return IceServers(
            tuple(server for server in self.stun if _is_loopback(server.host)),
            tuple(server for server in self.turn if _is_loopback(server.host)),
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
