"""The health check of the container."""

from __future__ import annotations

import runpy
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from vb.api.app import PAGES
from vb.config import Config, settings_table
from vb.server import Server, open_server

READY = Path(__file__).parents[2] / "deploy" / "ready.py"


def connect_to(http_addr: str) -> tuple[str, int]:
    function: Callable[[str], tuple[str, int]] = runpy.run_path(str(READY))["connect_to"]
    return function(http_addr)


async def check(**environ: str) -> tuple[int, str]:
    done = await trio.run_process(
        [sys.executable, "-ISB", str(READY)],
        env=environ,
        capture_stdout=True,
        check=False,
        stderr=subprocess.STDOUT,
    )
    return done.returncode, done.stdout.decode()


def settings(folder: Path, **environ: str) -> Config:
    free_ports = {"HTTP_ADDR": "127.0.0.1:0", "SIP_PORT": "0", "RTP_PORT_MIN": "0", "RTP_PORT_MAX": "0"}
    return Config.from_env({**free_ports, "RECORDING_DIR": str(folder), **environ})


def address_of(server: Server) -> str:
    assert server.url is not None
    return server.url.removeprefix("http://")


@pytest.mark.parametrize(
    ("http_addr", "expected"),
    [
        (":8080", ("127.0.0.1", 8080)),
        ("0.0.0.0:81", ("127.0.0.1", 81)),
        ("[::]:82", ("::1", 82)),
        ("192.0.2.7:83", ("192.0.2.7", 83)),
        ("[2001:db8::7]:84", ("2001:db8::7", 84)),
        ("vb.example:85", ("vb.example", 85)),
        ("::1:86", ("::1", 86)),
        (":::87", ("::1", 87)),
    ],
)
def test_it_asks_where_the_server_listens(http_addr: str, expected: tuple[str, int]) -> None:
    assert connect_to(http_addr) == expected


def test_its_default_address_is_the_servers() -> None:
    (default,) = (row.default for row in settings_table() if row.name == "HTTP_ADDR")
    assert runpy.run_path(str(READY))["DEFAULT"] == default


@pytest.mark.parametrize("environ", [{}, {"HTTP_ADDR": ""}, {"HTTP_ADDR": "  "}], ids=["unset", "", "blank"])
async def test_an_empty_address_is_the_default_as_it_is_to_the_server(environ: dict[str, str]) -> None:
    status, said = await check(**environ)
    assert (status, "Traceback" in said) == (0 if said == "" else 1, False)


def test_it_asks_for_a_page_that_exists() -> None:
    assert "/readyz" in PAGES
    assert '"GET", "/readyz"' in READY.read_text(encoding="utf-8")


@pytest.mark.integration
async def test_a_server_that_takes_calls_is_ready(tmp_path: Path) -> None:
    async with open_server(settings(tmp_path)) as server:
        assert await check(HTTP_ADDR=address_of(server), http_proxy="http://127.0.0.1:1") == (0, "")


@pytest.mark.integration
async def test_a_port_where_nothing_listens_is_not_ready() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        status, said = await check(HTTP_ADDR=f"127.0.0.1:{bound.getsockname()[1]}")
    assert status == 1
    assert said.startswith("not ready: ConnectionRefusedError")


@pytest.mark.integration
async def test_any_other_answer_is_not_ready(tmp_path: Path) -> None:
    async with open_server(settings(tmp_path, ALLOWED_IPS="192.0.2.1")) as server:
        answer = await check(HTTP_ADDR=address_of(server))
    assert answer == (1, "not ready: /readyz answers 403\n")


@pytest.mark.parametrize("http_addr", ["localhost", "x:y", "localhost:", ":99999", "8080"])
async def test_an_address_that_is_none_is_not_ready_in_one_line(http_addr: str) -> None:
    status, said = await check(HTTP_ADDR=http_addr)
    assert (status, said.count("\n")) == (1, 1)
    assert said.startswith(f"not ready: HTTP_ADDR: '{http_addr}' is not")


async def test_a_host_that_can_have_no_address_is_not_ready_in_one_line() -> None:
    status, said = await check(HTTP_ADDR=f"{'x' * 70}.example:80", PYTHONUTF8="1")
    assert (status, said.count("\n")) == (1, 1)
