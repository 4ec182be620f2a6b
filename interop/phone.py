"""One baresip phone as a program: commands come in as JSON lines, replies and everything that happens go out.

The native stack allows one runtime per process and speaks asyncio, so `interop.phone_client` starts a
subprocess. A command is `{"id": 1, "do": "dial", ...}`, its reply `{"reply": 1, "data": {...}}` or
`{"reply": 1, "error": "..."}`. An event of the stack is `{"event": "call_established", "call": 0, ...}`, a
SIP message `{"event": "sip", "sent": true, "transport": "UDP", "text": "..."}`. It ends with its input.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from baresip import Account, Config, Runtime, UserAgent
from baresip.call import Call
from baresip.errors import BaresipError
from baresip.events import Event, StackEvent

from interop.phone_audio import CallAudio
from interop.tones import fits

STEP_S = 0.01
WINDOW_S = 0.4
SETTLE_S = 6.0
TRANSFER_S = 10.0
# Baresip's own names, with rate and channels where they are not 8000 and 1.
CODECS = {"PCMU": "PCMU/8000/1", "PCMA": "PCMA/8000/1", "G722": "G722/16000/1", "opus": "opus/48000/2"}

Arguments = Mapping[str, object]
Emit = Callable[[Mapping[str, object]], None]


class SipTrace(logging.Handler):
    """Passes on every SIP message of the stack; its records come from a thread of the stack."""

    def __init__(self, loop: asyncio.AbstractEventLoop, emit: Emit) -> None:
        super().__init__(logging.DEBUG)
        self._loop = loop
        self._emit = emit

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record: `TX UDP 127.0.0.1:5060 -> 127.0.0.1:5070` and the message below it."""
        path, _, text = record.getMessage().partition("\n")
        direction, _, rest = path.partition(" ")
        message = {"event": "sip", "sent": direction == "TX", "transport": rest.split(" ")[0], "text": text}
        self._loop.call_soon_threadsafe(self._emit, message)


class Desk:
    """The calls of one phone, numbered in the order in which they began, and the commands for them."""

    def __init__(self, agent: UserAgent, tone_hz: int, emit: Emit) -> None:
        self._agent = agent
        self._tone_hz = tone_hz
        self._emit = emit
        self._numbers: dict[int, int] = {}
        self._calls: dict[int, Call] = {}
        self._audio: dict[int, CallAudio] = {}
        self._incoming = "answer"
        self._tasks: set[asyncio.Task[None]] = set()
        agent.on_incoming(self._came_in)
        self.commands: dict[str, Callable[[Arguments], Awaitable[Mapping[str, object]]]] = {
            "dial": self._dial,
            "incoming": self._set_incoming,
            "hangup": self._simple(Call.hangup),
            "hold": self._simple(partial(when_settled, Call.hold)),
            "resume": self._simple(partial(when_settled, Call.resume)),
            "send_digits": self._send_digits,
            "say_digits": self._say_digits,
            "transfer": self._transfer,
            "attended_transfer": self._attended_transfer,
            "accept_transfer": self._accept_transfer,
            "refuse_transfer": self._refuse_transfer,
            "listen": self._listen,
        }

    def number(self, handle: int) -> int:
        """The number of a call of the stack."""
        return self._numbers.setdefault(handle, len(self._numbers))

    def happened(self, event: StackEvent) -> None:
        """Tell an event of a call."""
        if event.event in (Event.VU_TX, Event.VU_RX) or not event.call:
            return
        number = self.number(event.call)
        shown = {
            "event": event.event.name.lower(),
            "call": number,
            "text": event.text,
            "peer": event.peer,
            "at_s": asyncio.get_running_loop().time(),
        }
        if event.event is Event.CALL_CLOSED:
            shown["packets_received"] = event.stats.get("rx", {}).get("packets", 0)
        self._emit(shown)
        if event.event is Event.CALL_CLOSED:
            self._audio.pop(number, None)

    async def pump(self) -> None:
        """Keep the audio of every call going."""
        loop = asyncio.get_running_loop()
        while True:
            for audio in list(self._audio.values()):
                audio.step(loop.time())
            await asyncio.sleep(STEP_S)

    def _add(self, call: Call) -> int:
        number = self.number(call.handle)
        self._calls[number] = call
        self._audio[number] = CallAudio(call, self._tone_hz)
        return number

    def _came_in(self, call: Call) -> None:
        number = self._add(call)
        self._emit({"event": "incoming", "call": number, "peer": call.peer})
        if self._incoming != "leave":
            treat = call.answer() if self._incoming == "answer" else call.reject()
            task = asyncio.get_running_loop().create_task(treat)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _call(self, arguments: Arguments, name: str = "call") -> Call:
        return self._calls[int(str(arguments[name]))]

    def _simple(
        self, act: Callable[[Call], Awaitable[None]]
    ) -> Callable[[Arguments], Awaitable[Mapping[str, object]]]:
        async def command(arguments: Arguments) -> Mapping[str, object]:
            await act(self._call(arguments))
            return {}

        return command

    async def _dial(self, arguments: Arguments) -> Mapping[str, object]:
        headers = arguments.get("headers")
        call = await self._agent.dial(
            str(arguments["to"]), headers=dict(headers) if isinstance(headers, Mapping) else None
        )
        return {"call": self._add(call)}

    async def _set_incoming(self, arguments: Arguments) -> Mapping[str, object]:
        """What becomes of calls that come in: `answer`, `busy` or `leave`."""
        self._incoming = str(arguments["treatment"])
        return {}

    async def _send_digits(self, arguments: Arguments) -> Mapping[str, object]:
        await self._call(arguments).send_dtmf(str(arguments["digits"]), interdigit_ms=80)
        return {}

    async def _say_digits(self, arguments: Arguments) -> Mapping[str, object]:
        audio = self._audio[int(str(arguments["call"]))]
        await audio.say_digits(str(arguments["digits"])).wait()
        return {}

    async def _transfer(self, arguments: Arguments) -> Mapping[str, object]:
        await self._call(arguments).transfer(str(arguments["to"]), timeout=TRANSFER_S)
        return {}

    async def _attended_transfer(self, arguments: Arguments) -> Mapping[str, object]:
        consultation = self._call(arguments, "consultation")
        await self._call(arguments).attended_transfer(consultation, timeout=TRANSFER_S)
        return {}

    async def _accept_transfer(self, arguments: Arguments) -> Mapping[str, object]:
        return {"call": self._add(await self._call(arguments).accept_transfer())}

    async def _refuse_transfer(self, arguments: Arguments) -> Mapping[str, object]:
        await self._call(arguments).reject_transfer(int(str(arguments["status"])))
        return {}

    async def _listen(self, arguments: Arguments) -> Mapping[str, object]:
        """Listen until one window has all wanted tones and no unwanted one, or for `within_s`."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + float(str(arguments["within_s"]))
        wanted, unwanted = (_frequencies(arguments.get(name)) for name in ("wanted", "unwanted"))
        audio = self._audio[int(str(arguments["call"]))]
        while True:
            audio.forget()
            await asyncio.sleep(WINDOW_S)
            bins, came_s = audio.heard()
            if fits(bins, wanted, unwanted) or loop.time() >= end_s:
                return {"fits": fits(bins, wanted, unwanted), "bins": bins, "came_s": came_s}


async def when_settled(act: Callable[[Call], Awaitable[None]], call: Call) -> None:
    """Hold or resume; the binding refuses while a re-INVITE is under way and does not say when it is over."""
    end_s = asyncio.get_running_loop().time() + SETTLE_S
    while True:
        try:
            return await act(call)
        except BaresipError as exc:
            if "in flight" not in str(exc) or asyncio.get_running_loop().time() >= end_s:
                raise
            await asyncio.sleep(STEP_S)


def _frequencies(value: object) -> list[int]:
    return [int(hz) for hz in value] if isinstance(value, list) else []


def free_ports() -> int:
    """A loopback port that is free for UDP and TCP, with the next one free for TCP: the stack's TLS port."""
    while True:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
            socket.socket() as tcp,
            socket.socket() as tls,
        ):
            udp.bind(("127.0.0.1", 0))
            port = int(udp.getsockname()[1])
            try:
                tcp.bind(("127.0.0.1", port))
                tls.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


def emit(line: Mapping[str, object]) -> None:
    """Print one line."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def obey(desk: Desk) -> None:
    """Carry out the commands that come in, each in a task of its own, until the input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def carry_out(line: bytes) -> None:
        arguments = json.loads(line)
        try:
            emit({"reply": arguments["id"], "data": await desk.commands[arguments["do"]](arguments)})
        except (BaresipError, KeyError, ValueError) as exc:
            status = getattr(exc, "status", None)
            emit({"reply": arguments["id"], "error": f"{type(exc).__name__}: {exc}", "status": status})

    async with asyncio.TaskGroup() as group:
        pump = group.create_task(desk.pump())
        tasks = set()
        while line := await reader.readline():
            task = group.create_task(carry_out(line))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        for task in (pump, *tasks):
            task.cancel()


async def run(arguments: argparse.Namespace) -> None:
    """Be a phone."""
    port = free_ports()
    native = [f"sip_listen 127.0.0.1:{port}"]
    native += [f"sip_cafile {arguments.ca}", "sip_verify_server yes"] if arguments.ca else []
    native += [f"sip_certificate {arguments.certificate}"] if arguments.certificate else []
    native += ["rtcp_mux yes"] if arguments.mux else []
    log = logging.getLogger("baresip.native.sip")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(SipTrace(asyncio.get_running_loop(), emit))
    config = Config(
        net_interface="127.0.0.1",
        sip_trace=True,
        max_concurrent_calls=None,
        extra_config_text="\n".join(native),
    )
    account = Account(
        user=arguments.user,
        domain="127.0.0.1",
        password="",
        reg_interval=0,
        transport=arguments.transport,
        audio_codecs=tuple(CODECS[name] for name in arguments.codec.split(",")),
        dtmf_mode=arguments.dtmf,
        extra_params=(f"mediaenc={arguments.encryption}",) if arguments.encryption else (),
    )
    runtime = Runtime()
    await runtime.start(config)
    try:
        desk = Desk(await UserAgent.create(runtime, account), arguments.tone, emit)
        runtime.subscribe(desk.happened)
        emit({"event": "ready", "port": port})
        await obey(desk)
    finally:
        await runtime.close()


def main() -> int:
    """Parse the arguments and be a phone until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--user", required=True, help="user part of its address")
    parser.add_argument("--codec", default="PCMU", help=f"offered codecs in order, of {', '.join(CODECS)}")
    parser.add_argument("--tone", type=int, default=0, help="Hz, a multiple of 25; 0 = silence")
    parser.add_argument("--dtmf", default="rtpevent", choices=("rtpevent", "info", "auto"))
    parser.add_argument("--transport", default="udp", choices=("udp", "tcp", "tls"))
    parser.add_argument(
        "--encryption", default="", choices=("srtp", "srtp-mand", "dtls_srtp"), help="of its audio"
    )
    parser.add_argument("--mux", default="", choices=("", "yes"), help="RTCP on the port of RTP")
    parser.add_argument("--ca", default="", help="PEM file with the trust anchors")
    parser.add_argument("--certificate", default="", help="PEM file with its certificate and key")
    asyncio.run(run(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
