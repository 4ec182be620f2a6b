"""The generator's process: one JSON command a line comes in, one JSON answer a line goes out.

It has one loop of a millisecond. What it must not do is be late itself, so it reports how late it was.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Container
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from bench.codecs import Speaker
from bench.figures import Spread
from bench.host import raise_open_files
from bench.load.calls import Calls
from bench.load.churn import Churn, Rush
from bench.load.sip import Caller
from bench.load.speakers import SpeakerSender
from bench.load.streams import WIDEST, Bursts, Capture, Receiver, Sender, egress_lateness
from bench.tones import FRAME

HOST: Final = "127.0.0.1"
SLOT_NS: Final = 1_000_000
SHORT_MS: Final = 10
RECEIVE_BUFFER: Final = 1 << 20

Values = dict[str, object]


def _bound_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((HOST, 0))
    sock.setblocking(False)
    return sock


class Generator:
    """Everything that the process holds.

    Args:
        setup: legs (lines that can be in a call at a time), server (host and port), amplitude, probes (of how
            many lines one has kernel time stamps), burst (on and off packets, whether they are spread,
            or null), digits (whether callers have keys), talks (whether they send audio),
            speakers (what each of them sends, or null), talkers (the first so many lines have audio).
    """

    def __init__(self, setup: Values) -> None:
        legs, server = setup["legs"], setup["server"]
        assert isinstance(legs, int)
        assert isinstance(server, list)
        burst = setup["burst"]
        bursts = Bursts(*burst) if isinstance(burst, list) else None
        self._server = (str(server[0]), int(server[1]))
        self._sip = _bound_socket()
        self._sip.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._sip.connect(self._server)
        self._sockets = [_bound_socket() for _ in range(legs)]
        self._talks = bool(setup["talks"])
        self._talkers = int(str(setup["talkers"]))
        amplitude = float(str(setup["amplitude"])) if self._talks else 0.0
        listed = setup["speakers"]
        self._speakers = [Speaker(**values) for values in listed] if isinstance(listed, list) else None
        self._sender: Sender | SpeakerSender
        probes: Container[int] = range(0, legs, int(str(setup["probes"])))
        if self._speakers is None:
            self._sender = Sender(self._sockets, amplitude, bursts, self._talkers)
        else:
            self._sender = SpeakerSender(self._sockets, amplitude, self._speakers)
            # Two packets of 10 ms go out at once, so the second of them seems to be early.
            wide = [leg for leg, speaker in enumerate(self._speakers) if speaker.ptime_ms > SHORT_MS]
            probes = wide[:: int(str(setup["probes"]))]
        self._receiver = Receiver(self._sockets, probes, self._speakers)
        self._calls = Calls(self._transmit, self._on_answer, self._on_over, self._on_held)
        self._token = f"{os.getpid():x}"
        self._digits = bool(setup["digits"])
        self._lines: dict[int, int] = {}
        self._churn: Churn | None = None
        self._first_of_churn = 0
        self._sent_before: dict[int, int] = {}
        self._finished: list[list[object]] = []
        self._plan: deque[tuple[float, Callable[[float], None]]] = deque()
        self._most_unfinished = legs
        self._late_ms: list[float] = []
        self._marked = (time.monotonic(), time.process_time())
        self._pending = b""
        self._running = True
        self._actions: dict[str, Callable[[Values], Values]] = {
            "call": self._do_call,
            "hang_up": self._do_hang_up,
            "churn": self._do_churn,
            "end_churn": self._do_end_churn,
            "finished": self._do_finished,
            "status": self._do_status,
            "mark": self._do_mark,
            "lateness": self._do_lateness,
            "egress": self._do_egress,
            "capture": self._do_capture,
            "hush": self._do_hush,
            "finish_bursts": self._do_finish_bursts,
            "onsets": self._do_onsets,
            "counts": self._do_counts,
            "dump": self._do_dump,
            "quit": self._do_quit,
        }

    def run(self) -> None:
        """Work until told to quit or until the other side is gone."""
        due, batch = time.monotonic_ns(), 0
        while self._running:
            now = time.monotonic_ns()
            while now >= due:
                self._late_ms.append((now - due) / 1e6)
                self._sender.send_batch(batch)
                due += SLOT_NS
                batch += 1
                now = time.monotonic_ns()
            while now < due and self._receiver.drain():
                now = time.monotonic_ns()
            self._run_plan(now / 1e9)
            self._run_churn(now / 1e9)
            self._calls.expire(now / 1e9)
            self._wait(max(0.0, (due - time.monotonic_ns()) / 1e9))

    def _wait(self, timeout_s: float) -> None:
        ready, _, _ = select.select([self._sip, sys.stdin.fileno()], [], [], timeout_s)
        if self._sip in ready:
            self._read_sip()
        if sys.stdin.fileno() in ready:
            self._read_commands()

    def _read_sip(self) -> None:
        for _ in range(16):
            try:
                data = self._sip.recv(65535)
            except OSError:  # nothing more, or an ICMP error of an earlier send
                return
            self._calls.receive(data, time.monotonic())

    def _read_commands(self) -> None:
        data = os.read(sys.stdin.fileno(), 65536)
        if not data:
            self._running = False
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            command = json.loads(line)
            answer = self._actions[command["do"]](command)
            print(json.dumps(answer), flush=True)

    def _run_plan(self, now: float) -> None:
        while self._plan and self._plan[0][0] <= now and len(self._calls.unfinished) < self._most_unfinished:
            self._plan.popleft()[1](now)

    def _transmit(self, data: bytes) -> None:
        try:
            self._sip.send(data)
        except OSError:  # SIP sends again what got lost
            pass

    def _run_churn(self, now: float) -> None:
        if self._churn is None:
            return
        due = self._churn.due(now)
        if due is not None:
            number, line, name = due
            self._lines[number] = line
            self._place(self._caller(number, name), now)
        for number, action, keys in self._churn.actions(now):
            if self._calls.by_number[number].state != "up":
                continue
            if action == "hang up":
                self._calls.hang_up(number, now)
            elif action == "press":
                self._sender.digits.press(self._lines[number], keys)
            else:
                self._sender.talk(self._lines[number], False)

    def _on_answer(self, number: int, address: tuple[str, int]) -> None:
        line = self._lines[number]
        self._sockets[line].connect(address)
        self._receiver.restart(line)
        self._sent_before[number] = int(self._sender.sent[line])
        self._sender.talk(line, self._talks and number < self._talkers)
        if self._churn is not None and number >= self._first_of_churn:
            self._churn.answered(number, time.monotonic())

    def _on_over(self, number: int) -> None:
        line = self._lines[number]
        self._sender.talk(line, False)
        self._sender.digits.drop(line)
        if self._churn is None or number < self._first_of_churn:
            return
        self._churn.over(number, line, time.monotonic())
        call = self._calls.by_number[number]
        sent = int(self._sender.sent[line]) - self._sent_before.pop(number, int(self._sender.sent[line]))
        received, lost = int(self._receiver.received[line]), int(self._receiver.lost()[line])
        heard = (received, lost) if call.status == 200 else (0, 0)
        self._finished.append([number, call.caller.room, call.state, call.setup_ms, sent, *heard])

    def _on_held(self, number: int, held: bool) -> None:
        self._sender.talk(self._lines[number], not held)

    def _do_call(self, command: Values) -> Values:
        """Call from all legs at a rate, with at most so many calls unanswered."""
        rooms, rate, most = command["rooms"], float(str(command["rate"])), command["most_unfinished"]
        assert isinstance(rooms, list)
        self._most_unfinished = most if isinstance(most, int) else len(rooms) + 1
        start = time.monotonic()
        legs = list(enumerate(rooms))
        for place, (leg, room) in enumerate(reversed(legs) if command["last_first"] else legs):
            self._lines[leg] = leg
            self._plan.append((start + place / rate, partial(self._place, self._caller(leg, str(room)))))
        return {}

    def _caller(self, number: int, name: str) -> Caller:
        host, port = self._sip.getsockname()
        remote = f"{self._server[0]}:{self._server[1]}"
        speaker = None if self._speakers is None else self._speakers[self._lines[number]]
        direction = "sendrecv" if number < self._talkers else "inactive"
        return Caller(number, name, f"{host}:{port}", remote, self._token, self._digits, speaker, direction)

    def _place(self, caller: Caller, now: float) -> None:
        rtp_port = self._sockets[self._lines[caller.number]].getsockname()[1]
        self._calls.place(caller, rtp_port, time.monotonic())

    def _do_churn(self, command: Values) -> Values:
        """Let short calls come, on all lines but the first so many."""
        rush, first_line = command["rush"], command["first_line"]
        assert isinstance(rush, dict)
        assert isinstance(first_line, int)
        self._first_of_churn = max(self._lines, default=-1) + 1
        lines = range(first_line, len(self._sockets))
        self._churn = Churn(Rush(**rush), first=self._first_of_churn, lines=lines, now=time.monotonic())
        return {}

    def _do_end_churn(self, command: Values) -> Values:
        """Let no further short call come."""
        if self._churn is not None:
            self._churn.stop()
        return {}

    def _do_finished(self, command: Values) -> Values:
        """Tell of the short calls that ended since the last time."""
        finished, self._finished = self._finished, []
        return {"calls": finished, "short_of_lines": self._churn.short_of_lines if self._churn else 0}

    def _do_hang_up(self, command: Values) -> Values:
        start, rate = time.monotonic(), float(str(command["rate"]))
        self._most_unfinished = len(self._sockets) + 1
        standing = [number for number, call in self._calls.by_number.items() if call.state == "up"]
        for place, number in enumerate(standing):
            self._plan.append((start + place / rate, partial(self._calls.hang_up, number)))
        return {}

    def _do_status(self, command: Values) -> Values:
        calls = self._calls
        return {
            "planned": len(self._plan) + (self._churn.planned if self._churn is not None else 0),
            "unfinished": len(calls.unfinished),
            "up": calls.count("up"),
            "failed": calls.count("failed"),
            "ended": calls.count("ended"),
            "live": len(calls.unfinished) + calls.count("up"),
        }

    def _do_mark(self, command: Values) -> Values:
        """Begin a window: what `lateness` and `egress` report starts here."""
        self._receiver.probed.clear()
        self._late_ms.clear()
        self._marked = (time.monotonic(), time.process_time())
        return {}

    def _do_lateness(self, command: Values) -> Values:
        wall, cpu = time.monotonic() - self._marked[0], time.process_time() - self._marked[1]
        return {**asdict(Spread.of(self._late_ms)), "cpu_share": cpu / wall}

    def _do_egress(self, command: Values) -> Values:
        """Tell how late the server's packets came, by its own grid."""
        return asdict(egress_lateness(self._receiver.probed, self._receiver.clock_hz))

    def _do_capture(self, command: Values) -> Values:
        packets = command["packets"]
        assert isinstance(packets, int)
        width = FRAME if self._speakers is None else WIDEST
        self._receiver.capture = Capture(len(self._sockets), packets, width)
        self._sender.onsets_ns.clear()
        return {}

    def _do_hush(self, command: Values) -> Values:
        """Stop sending audio; listening goes on."""
        self._sender.talking[:] = False
        return {}

    def _do_finish_bursts(self, command: Values) -> Values:
        """Let everybody finish the burst that is being sent, and begin no other."""
        self._sender.no_more_bursts = True
        return {}

    def _do_onsets(self, command: Values) -> Values:
        """Tell when every burst began: leg and wall time in ns."""
        return {"onsets": self._sender.onsets_ns}

    def _do_counts(self, command: Values) -> Values:
        calls = self._calls
        return {
            "sent": self._sender.sent.tolist(),
            "received": self._receiver.received.tolist(),
            "lost": self._receiver.lost().tolist(),
            "send_errors": self._sender.errors,
            "backwards": self._receiver.backwards,
            "odd": self._receiver.odd,
            "setup_ms": [call.setup_ms for call in calls.by_number.values() if call.setup_ms is not None],
            "resent": calls.resent,
            "refused": {str(status): count for status, count in calls.refused.items()},
            "digit_packets": self._receiver.digit_packets,
        }

    def _do_dump(self, command: Values) -> Values:
        """Write what was captured to a file."""
        capture = self._receiver.capture
        assert capture is not None
        onsets = np.array(self._sender.onsets_ns, np.int64).reshape(-1, 2)
        with Path(str(command["path"])).open("wb") as file:
            np.savez(
                file,
                count=capture.count,
                payloads=capture.payloads,
                sizes=capture.sizes,
                stamps=capture.stamps,
                arrival_ns=capture.arrival_ns,
                onsets_ns=onsets,
            )
        return {}

    def _do_quit(self, command: Values) -> Values:
        self._running = False
        return {}


def main() -> int:
    """Run with the setup that the first argument holds as JSON."""
    raise_open_files()
    Generator(json.loads(sys.argv[1])).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
