"""baresip phones in rooms: each hears the other one's tone, and never its own, in every codec."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from functools import partial
from pathlib import Path

import trio

from interop.application import Application, answer_into_room, application
from interop.report import NotRun, Report, run_peer
from interop.server import Server, running_server

# A pair of phones per room: what each offers, and the tone it sends. The rooms run one after another.
ROOMS = {
    "pcmu": ("PCMU", "PCMU"),
    "pcma": ("PCMA", "PCMA"),
    "g722": ("G722", "G722"),
    "opus": ("opus", "opus"),
    "mixed": ("opus", "PCMU"),
    "wide": ("G722", "PCMA"),
}
TONES_HZ = (700, 1100)
SAME_TONE_HZ = 50
CALL_S = 40


def find_baresip() -> None:
    """Look for the baresip binding.

    Raises:
        NotRun: it is not installed.
    """
    if importlib.util.find_spec("baresip") is None:
        raise NotRun("baresip-python is not installed (./run test sets it up)")


async def _phone(to: str, codec: str, tone_hz: int) -> dict[str, object]:
    command = [sys.executable, "-m", "interop.phone", "--to", to, "--codec", codec, "--tone", str(tone_hz)]
    with trio.move_on_after(CALL_S):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        if done.returncode == 0:
            described = json.loads(done.stdout.splitlines()[-1])
            assert isinstance(described, dict)
            return described
        return {"error": done.stderr.decode(errors="replace")[-600:]}
    return {"error": f"no answer from the phone within {CALL_S} s"}


def _has(bins: object, hz: int) -> bool:
    return isinstance(bins, dict) and any(abs(int(found) - hz) <= SAME_TONE_HZ for found in bins)


def judge(report: Report, what: str, heard: dict[str, object], own_hz: int, other_hz: int) -> None:
    """One phone's side of a room."""
    if not report.check("error" not in heard, f"{what}: the call works", heard.get("error", "")):
        return
    bins = heard["bins"]
    report.check(_has(bins, other_hz), f"{what}: hears {other_hz} Hz", bins)
    report.check(not _has(bins, own_hz), f"{what}: does not hear its own {own_hz} Hz", bins)
    received = heard["received"]
    report.check(isinstance(received, int) and received >= 150, f"{what}: 150 packets came", received)


async def run_room(report: Report, server: Server, name: str) -> None:
    """Two phones call one room at the same time."""
    heard: list[dict[str, object]] = [{}, {}]

    async def phone(index: int) -> None:
        heard[index] = await _phone(server.sip_uri(name), ROOMS[name][index], TONES_HZ[index])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(phone, 0)
        nursery.start_soon(phone, 1)
    for index, codec in enumerate(ROOMS[name]):
        judge(report, f"{name}, {codec} phone", heard[index], TONES_HZ[index], TONES_HZ[1 - index])


def _both_ended(app: Application, name: str) -> bool:
    return len(app.of(name, "leg.disconnected")) >= 2


async def run(report: Report, only: tuple[str, ...] = ()) -> None:
    """Run every room, or the named ones.

    Raises:
        NotRun: baresip is not installed.
    """
    find_baresip()
    rules = {name: answer_into_room(name) for name in ROOMS}
    with tempfile.TemporaryDirectory(prefix="interop-phones-") as folder:
        async with running_server(Path(folder)) as server, application(server.vsi_url, rules) as app:
            for name in ROOMS:
                if only and name not in only:
                    continue
                await app.command("create_room", id=name, sample_rate=16000)
                await run_room(report, server, name)
                await app.wait(partial(_both_ended, app, name), 5)
                report.equal(app.ends(name), {"remote_bye": 2}, f"{name}: both phones hung up")
                await app.command("delete_room", id=name)
            report.equal(app.failures, [], "no command failed and no event was dropped")


def main() -> int:
    """Run the rooms named on the command line, or all of them."""
    report = Report("phones")
    run_peer(report, partial(run, only=tuple(sys.argv[1:])))
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
