"""As many legs' sockets as the machine lets one process hold, up to 1,024."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator

import pytest
import trio

from vb.ids import SystemIds
from vb.limits.open_files import RESERVED_FILES, legs_that_fit, raise_open_files
from vb.mixer.plane import Plane
from vb.mixer.port import RtpPort
from vb.mixer.tasks import SocketIo
from vb.rtp.packet import build_header
from vb.rtp.ports import PortPool
from vb.rtp.tasks import bind_endpoint
from vb.rtp.tasks.endpoint import RtpEndpoint

pytestmark = pytest.mark.integration

WANTED = 1024


@pytest.fixture
def open_files() -> Iterator[None]:
    """The hard limit of open files, for one test."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_open_files()
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_a_thousand_legs_or_as_many_as_files_allow_hold_their_sockets_and_hear_their_packets(
    open_files: None,
) -> None:
    count = min(WANTED, legs_that_fit(resource.getrlimit(resource.RLIMIT_NOFILE)[0]) - RESERVED_FILES)
    pool = PortPool(0, 0)
    io = SocketIo()
    plane = Plane(io, SystemIds())
    plane.set_time(trio.current_time())
    endpoints: list[RtpEndpoint] = []
    ports: list[RtpPort] = []
    try:
        for _ in range(count):
            endpoint = bind_endpoint(pool, "127.0.0.1")
            endpoints.append(endpoint)
            ports.append(plane.open_port(endpoint))
        assert len({endpoint.rtp_port for endpoint in endpoints}) == count
        assert all(endpoint.rtp_port % 2 == 0 for endpoint in endpoints)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for endpoint in endpoints:
                packet = build_header(0, 1, 160, 7) + bytes(160)
                sender.sendto(packet, ("127.0.0.1", endpoint.rtp_port))
        with trio.fail_after(10):
            while plane.statistics.packets_in < count:
                now = trio.current_time()
                plane.tick(now, now)
                await trio.lowlevel.checkpoint()
    finally:
        for port in ports:
            port.close()
        for endpoint in endpoints:
            endpoint.close()
        io.close()
    assert plane.statistics.packets_in >= count
    assert plane.ports == 0
