from __future__ import annotations

import os
import socket
from contextlib import closing

from bench.open_files import connections_to, open_files


def test_what_is_open_has_a_name() -> None:
    before = open_files(os.getpid())
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        with closing(socket.create_connection(("127.0.0.1", port))), closing(server.accept()[0]):
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.bind(("127.0.0.1", 0))
            one, other = socket.socketpair()
            with closing(udp), closing(one), closing(other):
                fresh = open_files(os.getpid()) - before
    assert fresh == {
        "TCP socket that accepts connections": 1,
        connections_to(port): 1,
        "accepted TCP connection": 1,
        "UDP socket": 1,
        "Unix socket": 2,
    }
    assert open_files(os.getpid()) == before
