"""The command line as a process: settings, addresses, signals and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import IO
from urllib.request import Request, urlopen

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from vb import cli
from vb.cli import build_parser
from vb.config import settings_table
from vb.log_stream import LogStream
from vb.version import own_version

FREE_PORTS = {"HTTP_ADDR": "127.0.0.1:0", "SIP_PORT": "0", "RTP_PORT_MIN": "0", "RTP_PORT_MAX": "0"}


@pytest.fixture(autouse=True)
def signals_of_a_shell() -> Iterator[None]:
    """Let what the tests start heed these signals: a run in the background, or under nohup, ignores them."""
    ignored = [
        number for number in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_IGN
    ]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


def run(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vb", *args],
        env={"PATH": os.defpath, **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@contextmanager
def serve(
    *arguments: str, stderr: IO[str] | int = subprocess.DEVNULL, **environ: str
) -> Iterator[tuple[subprocess.Popen[str], dict[str, object]]]:
    process = subprocess.Popen(
        [sys.executable, *(arguments or ("-m", "vb", "serve"))],
        env={"PATH": os.defpath, **FREE_PORTS, **environ},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def test_the_version_is_told() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"vb {version('vb')}\n", "")


def test_the_help_of_serve_shows_every_setting() -> None:
    text = run("serve", "--help").stdout
    assert [row.name for row in settings_table() if row.name not in text] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SIP_PORT", "many"),
        ("SIP_PORT", "70000"),
        ("SIP_BIND_IP", "localhost"),
        ("SIP_CODECS", "PCMU,GSM"),
        ("HTTP_ADDR", "here"),
        ("DEFAULT_SAMPLE_RATE", "44100"),
        ("LOG_LEVEL", "loud"),
        ("SIP_TCP_ENABLED", "perhaps"),
        ("RTP_PORT_MIN", "19950"),
        ("VSI_EVENT_BUFFER_SIZE", "3"),
        ("VB_STOP_TIMEOUT", "soon"),
        ("VB_FETCH_ALLOW", "not a host!"),
        ("WEBHOOK_URL", "ftp://example.com"),
    ],
)
def test_a_bad_setting_ends_the_start_with_one_line_that_names_it(name: str, value: str) -> None:
    done = run("serve", **{name: value})
    assert done.returncode == 1
    assert done.stdout == ""
    assert name in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.integration
def test_a_taken_port_ends_the_start_with_one_line() -> None:
    with serve() as (_, listening):
        taken = str(listening["sip"]).rpartition(":")[2].rstrip("']")
        done = run("serve", **{**FREE_PORTS, "SIP_PORT": taken})
    assert done.returncode == 1
    assert done.stderr.startswith("vb: cannot start:")
    assert f"SIP_PORT, udp 127.0.0.1:{taken}" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.integration
def test_a_server_whose_log_nobody_takes_serves_and_stops_all_the_same() -> None:
    with open("/dev/full", "w") as full, serve(stderr=full, VB_API_TOKENS="short") as (process, listening):
        asked = Request(f"{listening['http']}/metrics", headers={"Authorization": "Bearer short"})
        with urlopen(asked, timeout=5) as response:
            assert b"\nvoiceblender_log_lines_lost 2.0\n" in response.read()
        process.terminate()
        assert process.wait(timeout=15) == 0


@pytest.mark.integration
def test_a_machine_without_memory_for_it_ends_the_start_with_one_line() -> None:
    little = "import numpy; numpy.zeros = lambda *_, **__: (_ for _ in ()).throw(MemoryError('no room'))"
    code = f"import sys; from vb import server; from vb.cli import run; {little}; sys.exit(run(['serve']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": os.defpath, **FREE_PORTS},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "vb: cannot start: not enough memory: no room\n"


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_the_server_with_status_0(number: signal.Signals) -> None:
    with serve() as (process, listening):
        with urlopen(f"{listening['http']}/readyz", timeout=5) as response:
            assert response.status == 200
        process.send_signal(number)
        assert process.wait(timeout=15) == 0


def asked_to_stop_before_it_has_begun(
    *command: str, number: signal.Signals = signal.SIGTERM
) -> subprocess.CompletedProcess[str]:
    code = (
        "import signal, sys; from vb import early_stop; from vb.__main__ import main;"
        f"early_stop.watch(); signal.raise_signal({int(number)}); sys.exit(main({list(command)!r}))"
    )
    environ = {"PATH": os.defpath, **FREE_PORTS}
    return subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_server_that_is_stopped_while_it_loads_ends_with_status_0(number: signal.Signals) -> None:
    done = asked_to_stop_before_it_has_begun("serve", number=number)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("command", [("demo",), ("calls", "list"), ("models", "list")])
def test_any_other_command_that_is_stopped_while_it_loads_ends_by_the_signal(
    command: tuple[str, ...],
) -> None:
    assert asked_to_stop_before_it_has_begun(*command).returncode == -signal.SIGTERM
    interrupted = asked_to_stop_before_it_has_begun(*command, number=signal.SIGINT)
    assert (interrupted.returncode, interrupted.stderr) == (130, "")


def test_another_command_goes_on_where_ctrl_c_is_ignored() -> None:
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); import vb.cli as cli;"
        "cli._run = lambda *_: signal.raise_signal(signal.SIGINT) or 7;"
        "from vb.__main__ import main; sys.exit(main(['calls', 'list']))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 7


def test_a_package_that_is_not_installed_has_commands_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("vb.version.version", unknown)
    build_parser()
    assert own_version() == "unknown"


@pytest.mark.parametrize(("number", "is_hard"), [(signal.SIGHUP, False), (signal.SIGTERM, True)])
async def test_a_terminal_that_closes_while_the_server_stops_does_not_end_it_at_once(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, is_hard: bool
) -> None:
    monkeypatch.setattr(os, "_exit", lambda _status: None)
    monkeypatch.setattr(cli, "HARD_STOP_S", 0.0)
    everything = trio.CancelScope()
    stop = await nursery.start(cli._watch_signals, everything, LogStream(None))
    signal.raise_signal(signal.SIGTERM)
    await stop.wait()
    signal.raise_signal(number)
    await wait_all_tasks_blocked(0.01)
    assert everything.cancel_called is is_hard


@pytest.mark.integration
def test_a_server_that_may_not_hear_its_terminal_go_serves_on() -> None:
    ignoring = (
        "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); from vb.__main__ import main;"
    )
    with serve("-c", f"{ignoring} sys.exit(main(['serve']))") as (process, listening):
        process.send_signal(signal.SIGHUP)
        with urlopen(f"{listening['http']}/readyz", timeout=5) as response:
            assert response.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0


@pytest.mark.integration
def test_a_server_that_keeps_no_history_without_having_been_told_so_says_it() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "vb", "serve"],
        env={"PATH": os.defpath, **FREE_PORTS},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    _, log = process.communicate(timeout=15)
    assert [json.loads(line)["event"] for line in log.splitlines()] == ["call_history_off"]
