"""The listening socket of the HTTP edge."""

from __future__ import annotations

import socket

import httpx
import pytest

from tests.api.harness import SmallEngine, serving
from vb.api.serve import open_listener
from vb.config import Config, HttpConfig

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("addr", "prefix"),
    [
        ("127.0.0.1:0", "http://127.0.0.1:"),
        (":0", "http://127.0.0.1:"),
        ("0.0.0.0:0", "http://127.0.0.1:"),
        ("[::1]:0", "http://[::1]:"),
        ("[::]:0", "http://127.0.0.1:"),
        ("localhost:0", "http://127.0.0.1:"),
    ],
)
async def test_every_form_of_address_is_served(engine: SmallEngine, addr: str, prefix: str) -> None:
    engine.config = Config(http=HttpConfig(addr=addr))
    async with serving(engine) as url:
        assert url.startswith(prefix)
        async with httpx.AsyncClient(verify=False) as client:
            assert (await client.get(f"{url}/healthz")).status_code == 200


def test_a_taken_address_is_named() -> None:
    with open_listener("127.0.0.1:0") as first:
        addr = f"127.0.0.1:{first.getsockname()[1]}"
        with pytest.raises(OSError, match=f"HTTP_ADDR {addr}"):
            open_listener(addr)


def test_the_kernel_gives_up_nobody_by_itself() -> None:
    """Its limit hits whoever has a small buffer, however steadily it reads."""
    with open_listener("127.0.0.1:0") as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0
