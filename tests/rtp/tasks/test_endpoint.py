import socket

import pytest

from vb.rtp.ports import PortPool, PortsExhausted
from vb.rtp.tasks import bind_endpoint, open_endpoint

pytestmark = pytest.mark.integration
HOST = "127.0.0.1"


def free_even_port() -> int:
    with bind_endpoint_context() as port:
        return port


class bind_endpoint_context:  # noqa: N801  # reads as the call it stands for
    def __enter__(self) -> int:
        self._endpoint = bind_endpoint(PortPool(0, 0), HOST)
        return self._endpoint.rtp_port

    def __exit__(self, *_: object) -> None:
        self._endpoint.close()


def test_a_pair_is_an_even_port_and_the_odd_one_above() -> None:
    endpoint = bind_endpoint(PortPool(0, 0), HOST)
    assert endpoint.rtp_port % 2 == 0
    assert endpoint.rtcp_port == endpoint.rtp_port + 1
    assert endpoint.rtcp.getsockname() == (HOST, endpoint.rtcp_port)
    endpoint.close()


def test_a_busy_pair_is_skipped() -> None:
    port = free_even_port()
    pool = PortPool(port, port + 3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as busy:
        busy.bind((HOST, port + 1))
        endpoint = bind_endpoint(pool, HOST)
        assert endpoint.rtp_port == port + 2
        endpoint.close()
    assert pool.free == 2


def test_an_exhausted_pool_is_a_named_error_and_a_closed_pair_comes_back() -> None:
    port = free_even_port()
    pool = PortPool(port, port + 1)
    endpoint = bind_endpoint(pool, HOST)
    with pytest.raises(PortsExhausted):
        bind_endpoint(pool, HOST)
    endpoint.close()
    endpoint.close()
    assert pool.free == 1
    bind_endpoint(pool, HOST).close()


def test_a_foreign_address_is_an_error_and_costs_no_port() -> None:
    pool = PortPool(30000, 30011)
    with pytest.raises(OSError, match="assign"):
        bind_endpoint(pool, "192.0.2.1")
    assert pool.free == 6


def test_what_the_network_refuses_is_counted() -> None:
    endpoint = bind_endpoint(PortPool(0, 0), HOST)
    endpoint.send_rtcp(bytes(70_000), (HOST, 9))
    assert sum(endpoint.send_errors.values()) == 1
    endpoint.close()
    endpoint.send_rtp(b"x", (HOST, 9))


async def test_the_pair_is_closed_with_its_context() -> None:
    pool = PortPool(0, 0)
    async with open_endpoint(pool, HOST) as endpoint:
        assert endpoint.rtp.fileno() >= 0
    assert endpoint.rtp.fileno() == -1
