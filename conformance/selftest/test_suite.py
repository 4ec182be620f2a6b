"""The runner, the target and the VSI client against stand-ins."""

import json
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock
from trio_websocket import WebSocketRequest, serve_websocket

from conformance.expect import Difference
from conformance.peers.vsi import open_vsi
from conformance.registry import Scenario, load_all
from conformance.runner import Outcome, as_json, first_problem, judged, outcome_of
from conformance.stalls import StallWatch, watching
from conformance.targets import ROOT, command, environment, read_bound, started
from conformance.workers import from_line, run_parallel, to_line
from conformance.world import World

FLOWS = {
    "amd",
    "in_dtmf",
    "in_hold_offer",
    "in_prack",
    "in_replaces",
    "out_dtmf",
    "out_hold",
    "rec_room",
    "refer_in",
    "rest_unknown",
    "room_bridges",
    "room_routing",
    "rtt",
    "speaking",
    "transfer_attended",
    "transfer_blind",
    "vsi_unknown_ids",
    "hook_call",
    "hook_routing",
    "in_bad_offer",
    "in_cancel",
    "in_delete_connected",
    "in_delete_unanswered",
    "in_dialog_methods",
    "in_early_media",
    "in_headers",
    "in_late_offer",
    "in_reinvite",
    "in_reinvite_move",
    "in_reject",
    "in_rest",
    "in_retransmit",
    "in_vsi",
    "out_auth",
    "out_cancel",
    "out_codecs",
    "out_full",
    "out_header_injection",
    "out_identity",
    "out_redirect",
    "out_refused",
    "out_ring_timeout",
    "out_unreachable",
    "play_leg",
    "play_room",
    "play_tones",
    "rec_leg",
    "rest_paths",
    "room_crud",
    "room_membership",
    "room_mute",
    "room_rates",
    "room_three",
    "sip_out_of_dialog",
    "vsi_frames",
}

SERVER = """
import json, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("not the line", flush=True)
sip = ["udp:127.0.0.1:5060", "udp:[::1]:5062", "tcp:127.0.0.1:5061"]
print(json.dumps({"http": "http://127.0.0.1:4711", "sip": sip}), flush=True)
signal.pause()
"""


async def _nothing(world: World) -> None:
    del world


ITEM = Scenario("name", "what", _nothing)


def test_every_flow_of_telephony_is_a_scenario() -> None:
    assert set(load_all()) >= FLOWS


def test_an_outcome_survives_the_way_from_a_worker() -> None:
    outcome = replace(outcome_of(ITEM, 0.1, Difference("here", 1, "é")), used=("GET /v1/legs", "stop"))
    assert from_line(to_line(outcome)) == outcome


def test_a_difference_within_groups_is_the_problem() -> None:
    difference = Difference("here", 1, 2)
    group = ExceptionGroup("outer", [ValueError("x"), ExceptionGroup("inner", [difference])])
    assert first_problem(group) is difference
    outcome = outcome_of(ITEM, 0.1, group)
    assert (outcome.failed, outcome.where, outcome.expected, outcome.got) == (True, "here", "1", "2")


def test_the_report_counts_what_passed_and_failed() -> None:
    outcomes = [outcome_of(ITEM, 0.1, None), outcome_of(ITEM, 0.1, Difference("here", 1, 2))]
    report = json.loads(as_json(outcomes))
    assert (report["passed"], report["failed"]) == (1, 1)
    assert report["scenarios"][1]["where"] == "here"


def test_an_exception_of_the_scenario_fails_it() -> None:
    assert outcome_of(ITEM, 0.1, KeyError("x")).failed


def test_the_line_of_addresses_is_told_from_log_lines() -> None:
    assert read_bound(b'{"level": "info", "event": "up"}') is None
    assert read_bound(b"Traceback") is None
    bound = read_bound(b'{"http": "http://127.0.0.1:1", "sip": ["udp:[::1]:2"]}')
    assert bound == (("127.0.0.1", 1), {"udp6": ("::1", 2)}, None)
    bound = read_bound(b'{"http": "http://127.0.0.1:1", "sip": [], "moq": "[::]:8443"}')
    assert bound == (("127.0.0.1", 1), {}, ("::", 8443))


def test_the_environment_is_fresh_and_settings_can_be_unset(tmp_path: Path) -> None:
    made = environment(tmp_path, {"VB_FETCH_ALLOW": "(unset)", "SIP_PORT": "5099"})
    assert "VB_FETCH_ALLOW" not in made
    assert made["SIP_PORT"] == "5099"
    assert "PYTHONPATH" not in made


@pytest.mark.integration
async def test_the_server_is_of_this_checkout_whoever_made_the_environment(tmp_path: Path) -> None:
    env = {**environment(tmp_path, {}), "PYTHONVERBOSE": "1"}  # names each module that is loaded
    ended = await trio.run_process(
        [*command(), "--help"], env=env, cwd=ROOT, capture_stdout=True, capture_stderr=True
    )
    assert f"{ROOT}/vb/cli.py".encode() in ended.stderr


@pytest.mark.integration
async def test_a_worker_that_cannot_run_a_scenario_is_its_difference() -> None:
    (outcome,) = await run_parallel([ITEM], 3)
    assert (outcome.name, outcome.where) == ("name", "its worker")


@pytest.mark.integration
async def test_a_server_is_started_and_stopped_by_signal(tmp_path: Path) -> None:
    async with started(tmp_path, {}, argv=[sys.executable, "-c", SERVER]) as target:
        assert target.http == ("127.0.0.1", 4711)
        assert target.sip_address() == ("127.0.0.1", 5060)
        assert target.sip_address("udp", ipv6=True) == ("::1", 5062)
        assert not target.has_crashed()
        assert await target.stop() == 0
        assert target.has_crashed()


@pytest.mark.integration
async def test_a_server_that_does_not_come_up_is_a_difference(tmp_path: Path) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with started(tmp_path, {}, argv=[sys.executable, "-c", "print('boom')"]):
            pass
    problem = first_problem(caught.value)
    assert isinstance(problem, Difference)
    assert "boom" in str(problem.got)


async def _server_side(request: WebSocketRequest) -> None:
    socket = await request.accept()
    await socket.send_message('{"type":"connected"}')
    await socket.send_message('{"type":"leg.ringing","leg_id":"x"}')
    command = json.loads(await socket.get_message())
    await socket.send_message(
        json.dumps({"type": "fly.result", "request_id": command["request_id"], "data": 7})
    )
    await socket.aclose(1000)


@pytest.mark.integration
async def test_the_vsi_client_pairs_results_and_keeps_events(nursery: trio.Nursery) -> None:
    server = await nursery.start(partial(serve_websocket, _server_side, "127.0.0.1", 0, None))
    async with open_vsi(f"ws://127.0.0.1:{server.port}/v1/vsi") as vsi:
        assert (await vsi.command("fly"))["data"] == 7
        assert (await vsi.frame("leg.ringing"))["leg_id"] == "x"
        assert await vsi.wait_closed() == 1000
    nursery.cancel_scope.cancel()


async def _judged(
    failures: int, stall_s: float, where: str = "here", pressure: Path | None = None
) -> tuple[Outcome, int]:
    """An attempt that fails so many times, in a stall of so many seconds each; and how often it ran."""
    watch, runs = StallWatch(pressure_file=pressure or Path("/nonexistent")), 0

    async def attempt() -> Outcome:
        nonlocal runs
        runs += 1
        watch.note(stall_s)
        return outcome_of(ITEM, 0.1, Difference(where, 1, 2) if runs <= failures else None)

    return await judged(attempt, watch), runs


async def test_what_differed_while_the_machine_stalled_is_run_again_and_says_so(
    autojump_clock: MockClock,
) -> None:
    outcome, runs = await _judged(1, 0.2)
    assert (outcome.passed, runs) == (True, 2)
    assert outcome.again == "here differed with a stall of 0.20 s"
    assert outcome.again in outcome.line()


async def test_what_differed_on_a_machine_that_kept_up_has_failed() -> None:
    outcome, runs = await _judged(1, 0.02)
    assert (outcome.failed, runs, outcome.again) == (True, 1, "")


async def test_what_differs_again_and_again_has_failed(autojump_clock: MockClock) -> None:
    outcome, runs = await _judged(9, 0.2)
    assert (outcome.failed, runs) == (True, 3)


async def test_a_machine_that_is_busy_all_the_time_is_an_excuse_too(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    (tmp_path / "cpu").write_text("some avg10=97.50 avg60=1.00 avg300=0.00 total=9\nfull avg10=0.00\n")
    outcome, runs = await _judged(1, 0.0, pressure=tmp_path / "cpu")
    assert (outcome.passed, runs) == (True, 2)
    assert outcome.again == "here differed with a machine 98% busy"
    (tmp_path / "cpu").write_text("some avg10=50.00 avg60=99.00 avg300=99.00 total=9\nfull avg10=99.00\n")
    assert (await _judged(1, 0.0, pressure=tmp_path / "cpu"))[1] == 1


async def test_no_stall_excuses_a_crash() -> None:
    assert (await _judged(1, 0.2, "server log"))[1] == 1


def test_a_stall_is_seen() -> None:
    with watching() as watch:
        before = sys.getswitchinterval()
        sys.setswitchinterval(1.0)  # nobody else gets a turn meanwhile
        try:
            end = time.monotonic() + 0.3
            while time.monotonic() < end:
                pass
        finally:
            sys.setswitchinterval(before)
        threading.Event().wait(0.05)  # its turn now
        assert watch.longest_s > 0.1
        watch.begin()
        assert watch.longest_s < 0.1
