"""Finding out, once at the start, how this machine looks from outside."""

from __future__ import annotations

import math
import socket
from typing import Final

import trio

from vb.names import Resolve
from vb.rtcleg.ice_servers import IceServers, StunServer
from vb.webrtc.generation import RandomBytes
from vb.webrtc.reflexive import ReflexiveQueries

LIMIT_S: Final = 2.0
_DATAGRAM_BYTES: Final = 2048


async def find_external(
    servers: IceServers, bind: str, resolve: Resolve, random_bytes: RandomBytes
) -> str | None:
    """Return our address as the first STUN server that answers sees it; None when none does in time.

    Args:
        servers: those that can be reached.
        bind: address to ask from.
        resolve: looks the servers' names up.
        random_bytes: source of transaction ids.
    """
    queries = ReflexiveQueries(random_bytes)
    family = trio.socket.AF_INET6 if ":" in bind else trio.socket.AF_INET
    with trio.move_on_after(LIMIT_S), trio.socket.socket(family, trio.socket.SOCK_DGRAM) as sock:
        await sock.bind((bind, 0))
        async with trio.open_nursery() as nursery:
            for server in servers.stun:
                nursery.start_soon(_ask, sock, queries, server, resolve)
            nursery.start_soon(_repeat, sock, queries)
            while servers.stun and not queries.found:
                data, source = await sock.recvfrom(_DATAGRAM_BYTES)
                queries.receive(data, source[:2])
            nursery.cancel_scope.cancel()
    return queries.found[0][0] if queries.found else None


async def _ask(
    sock: trio.socket.SocketType, queries: ReflexiveQueries, server: StunServer, resolve: Resolve
) -> None:
    try:
        for address in await resolve(server.host, server.port):
            if (":" in address) == (sock.family == socket.AF_INET6):
                target = (address, server.port)
                await sock.sendto(queries.ask(target, trio.current_time()), target)
                return
    except OSError:
        return


async def _repeat(sock: trio.socket.SocketType, queries: ReflexiveQueries) -> None:
    while True:
        deadline = queries.deadline()
        now = trio.current_time()
        await trio.sleep_until(min(now + LIMIT_S / 4, math.inf if deadline is None else deadline))
        for data, server in queries.expire(trio.current_time()):
            try:
                await sock.sendto(data, server)
            except OSError:
                continue
