"""What the systemd unit takes for granted."""

from __future__ import annotations

import shlex
from pathlib import Path, PurePosixPath

from vb.cli import HARD_STOP_S, build_parser
from vb.config import Config, settings_table

UNIT = Path(__file__).parents[2] / "deploy" / "vb.service"
STATE = PurePosixPath("/var/lib")


def read_unit() -> dict[str, list[str]]:
    """Every directive with all its values, in order."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


DIRECTIVES = read_unit()


def only(name: str) -> str:
    (value,) = DIRECTIVES[name]
    return value


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for value in DIRECTIVES["Environment"] for pair in shlex.split(value))


def test_a_stop_has_more_time_than_the_server_takes_by_default() -> None:
    server = Config.from_env({}).server
    assert float(only("TimeoutStopSec")) > server.drain_timeout_s + server.stop_timeout_s + HARD_STOP_S


def test_what_it_sets_are_settings() -> None:
    assert set(environment()) <= {row.name for row in settings_table()}


def test_what_the_server_writes_lies_in_its_state_folder() -> None:
    folder = STATE / only("StateDirectory")
    written = environment()
    for name in ("RECORDING_DIR", "VB_SPOOL_DIR", "VB_DATA_DIR"):
        assert PurePosixPath(written[name]).is_relative_to(folder)


def test_the_command_is_one_of_ours() -> None:
    program, *arguments = shlex.split(only("ExecStart"))
    assert PurePosixPath(program).parts[-3:] == (".venv", "bin", "vb")
    assert build_parser().parse_args(arguments).command == "serve"


def test_a_crash_is_followed_by_a_start_however_often() -> None:
    assert (only("Restart"), only("StartLimitIntervalSec")) == ("on-failure", "0")


def test_only_the_thread_that_ticks_has_real_time_priority() -> None:
    assert (only("CPUSchedulingPolicy"), only("CPUSchedulingResetOnFork")) == ("rr", "yes")
    assert "RestrictRealtime" not in DIRECTIVES


def test_the_signal_goes_to_the_server_and_what_is_left_is_killed() -> None:
    assert only("KillMode") == "mixed"
    assert "KillSignal" not in DIRECTIVES


def test_the_addresses_that_the_server_uses_are_allowed() -> None:
    assert set(only("RestrictAddressFamilies").split()) == {"AF_INET", "AF_INET6", "AF_UNIX"}


def test_it_has_no_rights_but_its_own() -> None:
    assert only("CapabilityBoundingSet") == ""
    assert only("DynamicUser") == "yes"
    assert only("SystemCallErrorNumber") == "EPERM"
