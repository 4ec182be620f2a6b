"""linphone phones with real-time text: with an application, called by the server, and two in one room.

`INTEROP_LINPHONE` may name a folder with an unpacked liblinphone (`usr/lib/...`, `usr/share`); without it the
installed one is used.
"""

from __future__ import annotations

import ctypes.util
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import trio

from interop.application import Application, Rule, answer_into_room, application
from interop.report import NotRun, Report, run_peer
from interop.server import Server, running_server

CALL_S = 60.0
TYPED = "hello w\u00f6rld \u20ac"
SENT = "gr\u00fc\u00dfe \u20ac\U0001f600 back"
ROOM_TEXTS = ("one to two", "two to one \u00e4")


@dataclass(frozen=True, slots=True)
class Library:
    """Where liblinphone is: its arguments for the phone, and its environment."""

    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


def find_linphone() -> Library:
    """Look for liblinphone.

    Raises:
        NotRun: it is not there.
    """
    folder = os.environ.get("INTEROP_LINPHONE")  # noqa: TID251 - says where a peer is, sets nothing of vb
    if folder is None:
        if ctypes.util.find_library("linphone") is None:
            raise NotRun("liblinphone is not installed (Debian: liblinphone10)")
        return Library()
    found = sorted(Path(folder).glob("usr/lib/**/liblinphone.so.*"))
    if not found:
        raise NotRun(f"there is no liblinphone below {folder}")
    arguments = ("--library", str(found[0]), "--resources", str(Path(folder, "usr", "share")))
    return Library(arguments, {"LD_LIBRARY_PATH": str(found[0].parent)})


async def run_phone(
    library: Library,
    say: str,
    hear: str,
    *options: str,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> dict[str, object]:
    """Run one phone to its end and return what it says; started with its port when it waits for a call."""
    command = [sys.executable, "-m", "interop.text_phone", "--say", say, "--hear", hear]
    process = await trio.lowlevel.open_process(
        [*command, *library.arguments, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **library.environment},  # noqa: TID251 - a subprocess keeps PATH and the like
    )
    assert process.stdout is not None
    described: dict[str, object] = {"error": f"nothing from the phone within {CALL_S:g} s"}
    rest = b""
    with trio.move_on_after(CALL_S) as scope:
        async for data in process.stdout:
            *rows, rest = (rest + data).split(b"\n")
            for row in rows:
                if row.startswith(b'{"port"'):
                    task_status.started(int(json.loads(row)["port"]))
                elif row.startswith(b"{"):
                    described = json.loads(row)
        await process.wait()
    if scope.cancelled_caught:
        process.kill()
        await process.wait()
    return described


def texts(app: Application, user: str) -> str:
    """Everything that came in from the calls of one user."""
    return "".join(str(event["text"]) for event in app.of(user, "rtt.received"))


async def say_back(app: Application, leg_id: str) -> None:
    """Answer, and send a text."""
    await app.command("answer_leg", id=leg_id)
    if await app.wait_for(leg_id, "leg.connected") is not None:
        await app.command("send_leg_rtt", id=leg_id, text=SENT)


async def check_inbound(report: Report, library: Library, server: Server, app: Application) -> None:
    """A phone calls; text goes both ways."""
    heard = await run_phone(library, TYPED, SENT, "--to", server.sip_uri("talk"))
    report.equal(heard, {"heard": SENT}, "a phone that calls reads")
    report.equal(texts(app, "talk"), TYPED, "the application reads")


async def check_outbound(report: Report, library: Library, app: Application) -> None:
    """The server calls a phone; text goes both ways."""
    heard: dict[str, object] = {}

    async def phone(*, task_status: trio.TaskStatus[int]) -> None:
        heard.update(await run_phone(library, TYPED, SENT, task_status=task_status))

    async with trio.open_nursery() as nursery:
        port = await nursery.start(phone)
        leg_id = await app.dial(f"sip:text@127.0.0.1:{port}", "called", rtt=True)
        if report.check(
            await app.wait_for(leg_id, "leg.connected") is not None, "a phone that is called answers"
        ):
            await app.command("send_leg_rtt", id=leg_id, text=SENT)
    report.equal(heard, {"heard": SENT}, "a phone that is called reads")
    report.equal(texts(app, "called"), TYPED, "the application reads")


async def check_room(report: Report, library: Library, server: Server) -> None:
    """Two phones in one room read each other."""
    heard: list[dict[str, object]] = [{}, {}]

    async def phone(index: int) -> None:
        heard[index] = await run_phone(
            library, ROOM_TEXTS[index], ROOM_TEXTS[1 - index], "--delay", "2", "--to", server.sip_uri("room")
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(phone, 0)
        nursery.start_soon(phone, 1)
    for index, text in enumerate(reversed(ROOM_TEXTS)):
        report.equal(heard[index], {"heard": text}, f"phone {index + 1} of the room reads")


async def run(report: Report) -> None:
    """Run all of it.

    Raises:
        NotRun: liblinphone is not installed.
    """
    library = find_linphone()
    rules: dict[str, Rule] = {"talk": say_back, "room": answer_into_room("room")}
    with tempfile.TemporaryDirectory(prefix="interop-rtt-") as folder:
        # A phone that is killed clears nothing away: all it writes is in here.
        library = replace(library, environment={**library.environment, "HOME": folder, "TMPDIR": folder})
        async with running_server(Path(folder)) as server, application(server.vsi_url, rules) as app:
            await check_inbound(report, library, server, app)
            await check_outbound(report, library, app)
            await check_room(report, library, server)
            lost = [event for event in app.events if event.get("loss_marker")]
            report.equal(lost, [], "text marked as lost")
            report.equal(app.failures, [], "no command failed and no event was dropped")


def main() -> int:
    """Run the peer."""
    report = Report("rtt")
    run_peer(report, partial(run))
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
