"""VSI clients that never read, or vanish without a word: they are let go of, and nobody else notices."""

from __future__ import annotations

import ctypes
import struct

import trio

from conformance.expect import Difference, check
from conformance.registry import scenario
from conformance.world import World

SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
"""Linux; the names are not in the standard library."""
DROP_ALL = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
"""A packet filter of one instruction: keep no byte of any packet."""
GONE_S = 15.0
"""How long the server may hold on to a client whose host is gone while it has something to send."""


async def _upgraded(world: World, *, receive_buffer: int | None = None) -> trio.SocketStream:
    """A VSI client that has had its first answer and reads nothing more by itself."""
    sock = trio.socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, receive_buffer)
    await sock.connect(world.target.http)
    stream = trio.SocketStream(sock)
    lines = (
        "GET /v1/vsi HTTP/1.1",
        f"Host: {world.target.http[0]}:{world.target.http[1]}",
        *(f"{name}: {value}" for name, value in world.target.headers),
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "",
        "",
    )
    await stream.send_all("\r\n".join(lines).encode())
    with trio.fail_after(3):
        check("upgrade", (await stream.receive_some(100))[:12], b"HTTP/1.1 101")
    return stream


def _cut_off(stream: trio.SocketStream) -> None:
    """From now on nothing that is sent to this socket arrives, and nothing is acknowledged: half open."""
    program = struct.pack("HP", 1, ctypes.addressof(DROP_ALL))
    stream.socket.setsockopt(trio.socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def _back_again(stream: trio.SocketStream) -> None:
    stream.socket.setsockopt(trio.socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


async def _ends(stream: trio.SocketStream, who: str) -> None:
    """Reads to the end that the server has made of this connection.

    Raises:
        Difference: when it has made none.
    """
    with trio.move_on_after(3):
        try:
            # A masked ping: what holds a connection answers it, what has let go of it resets.
            await stream.send_all(b"\x89\x80\0\0\0\0")
            while await stream.receive_some(65536):
                pass
        except trio.BrokenResourceError:
            pass
        return
    raise Difference(who, "a connection that the server has ended", "still open")


async def _big_events(world: World, count: int) -> None:
    """Publishes events of 32 kB; each is answered and seen by who reads while others do not."""
    for number in range(count):
        matrix = {"listener": [f"{number}-{index:-<120}" for index in range(250)]}
        await world.command("room_routing_set", {"room_id": "sc-big", "matrix": matrix})
        await world.event("room.routing_changed", room_id="sc-big", within_s=1.0)


async def _pings(world: World) -> None:
    for number in range(40):
        await world.vsi.ping(b"%d" % number)
        await trio.sleep(0.02)


@scenario(
    "VSI: a client that never reads and one whose host is gone are let go of; others see all, pongs between",
    timeout_s=60,
)
async def vsi_dead_clients(world: World) -> None:
    await world.command("create_room", {"id": "sc-big"})
    stuck = await _upgraded(world, receive_buffer=4096)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_big_events, world, 150)
        nursery.start_soon(_pings, world)
    broken = [f for f in world.vsi.frames.items() if str(f.get("type")).startswith("(")]
    check("frames that cannot be read", broken, [])

    gone = await _upgraded(world)
    _cut_off(gone)
    cut_off_at = trio.current_time()
    # One small event: it fits the buffers of the server, so that no write of it ever waits.
    await world.command("create_room", {"id": "sc-small"})
    await trio.sleep(12)
    await _ends(stuck, "a client that does not read")
    await trio.sleep_until(cut_off_at + GONE_S)
    _back_again(gone)
    await _ends(gone, "a client whose host was gone")
    await world.command("list_rooms")
    for stream in (stuck, gone):
        await trio.aclose_forcefully(stream)
