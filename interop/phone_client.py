"""The Trio side of baresip phones: each is a subprocess, with its commands, events and SIP messages."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from interop.report import NotRun

START_S = 20.0
COMMAND_S = 15.0
EVENT_S = 10.0
STOP_S = 5.0

Event = Mapping[str, object]


class PhoneFailed(Exception):
    """A phone refused a command, did not answer it in time, or something did not happen.

    Attributes:
        status: the SIP status that the far end gave, if it was that.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def find_baresip() -> None:
    """Look for the baresip binding.

    Raises:
        NotRun: it is not installed.
    """
    if importlib.util.find_spec("baresip") is None:
        raise NotRun("baresip-python is not installed (./run test sets it up)")


@dataclass(frozen=True, slots=True)
class PhoneOptions:
    """What kind of phone: its address's user part, what it says, and the options of `interop.phone`."""

    user: str
    tone_hz: int = 0
    codec: str = "PCMU"
    dtmf: str = "rtpevent"
    transport: str = "udp"
    ca: str = ""
    certificate: str = ""
    encryption: str = ""
    mux: bool = False

    def command(self) -> list[str]:
        """The command line of the subprocess."""
        named = {
            "user": self.user,
            "tone": str(self.tone_hz),
            "codec": self.codec,
            "dtmf": self.dtmf,
            "transport": self.transport,
            "ca": self.ca,
            "certificate": self.certificate,
            "encryption": self.encryption,
            "mux": "yes" if self.mux else "",
        }
        options = [text for name, value in named.items() if value for text in (f"--{name}", value)]
        return [sys.executable, "-m", "interop.phone", *options]


@dataclass(frozen=True, slots=True)
class SipMessage:
    """One SIP message as a phone saw it."""

    sent: bool
    transport: str
    text: str

    @property
    def start(self) -> str:
        """The request or status line."""
        return self.text.partition("\r\n")[0]

    @property
    def body(self) -> str:
        """What follows the headers."""
        return self.text.partition("\r\n\r\n")[2]

    def header(self, name: str) -> str:
        """The value of a header, empty when there is none."""
        for line in self.text.partition("\r\n\r\n")[0].split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.strip().lower() == name.lower():
                return value.strip()
        return ""

    @property
    def direction(self) -> str:
        """The direction of the audio in its session description; empty without one."""
        if not self.body.startswith("v=0"):
            return ""
        lines = {line.strip() for line in self.body.split("\n")}
        return next(
            (word for word in ("sendonly", "recvonly", "inactive") if f"a={word}" in lines), "sendrecv"
        )


@dataclass
class Phone:
    """One running phone."""

    options: PhoneOptions
    process: trio.Process
    port: int = 0
    events: list[Event] = field(default_factory=list)
    messages: list[SipMessage] = field(default_factory=list)
    _replies: dict[int, trio.MemorySendChannel[Event]] = field(default_factory=dict)
    _requests: int = 0
    _news: trio.Event = field(default_factory=trio.Event)

    @property
    def uri(self) -> str:
        """Its address over UDP or TCP."""
        return f"sip:{self.options.user}@127.0.0.1:{self.port}"

    async def do(self, command: str, /, **arguments: object) -> Mapping[str, object]:
        """Carry out one command of `interop.phone` and return its data.

        Raises:
            PhoneFailed: it was refused, took too long, or the phone is gone.
        """
        self._requests += 1
        number = self._requests
        send, receive = trio.open_memory_channel[Event](1)
        self._replies[number] = send
        line = json.dumps({"id": number, "do": command, **arguments})
        assert self.process.stdin is not None
        with trio.move_on_after(COMMAND_S):
            try:
                await self.process.stdin.send_all(line.encode() + b"\n")
            except trio.BrokenResourceError:
                raise PhoneFailed(f"{command}: {self.options.user} is gone") from None
            reply = await receive.receive()
            if "error" in reply:
                status = reply.get("status")
                raise PhoneFailed(f"{command}: {reply['error']}", status if isinstance(status, int) else None)
            data = reply["data"]
            assert isinstance(data, dict)
            return data
        raise PhoneFailed(f"{command}: no reply within {COMMAND_S:g} s")

    async def wait(self, holds: Callable[[], bool], within_s: float = EVENT_S) -> bool:
        """Wait until a condition over its events and messages holds; False when it did not in time."""
        with trio.move_on_after(within_s):
            while not holds():
                await self._news.wait()
            return True
        return holds()

    def of(self, kind: str, call: int | None = None) -> list[Event]:
        """The events so far of one kind, of one call if given."""
        return [
            event
            for event in self.events
            if event["event"] == kind and (call is None or event.get("call") == call)
        ]

    async def event(
        self, kind: str, call: int | None = None, *, number: int = 1, within_s: float = EVENT_S
    ) -> Event:
        """The event of one kind with that number, waited for.

        Raises:
            PhoneFailed: it did not happen in time.
        """
        if not await self.wait(lambda: len(self.of(kind, call)) >= number, within_s):
            raise PhoneFailed(f"{self.options.user}: no {kind} of call {call} within {within_s:g} s")
        return self.of(kind, call)[number - 1]

    async def message(
        self, holds: Callable[[SipMessage], bool], *, since: int = 0, within_s: float = EVENT_S
    ) -> SipMessage:
        """The first SIP message from number `since` on for which a condition holds, waited for.

        Raises:
            PhoneFailed: there was none in time.
        """

        def found() -> SipMessage | None:
            return next((message for message in self.messages[since:] if holds(message)), None)

        await self.wait(lambda: found() is not None, within_s)
        message = found()
        if message is None:
            raise PhoneFailed(f"{self.options.user}: a SIP message did not come within {within_s:g} s")
        return message

    def take(self, line: Event) -> None:
        """Take one line of its output."""
        if "reply" in line:
            waiting = self._replies.pop(int(str(line["reply"])), None)
            if waiting is not None:
                waiting.send_nowait(line)
            return
        if line["event"] == "sip":
            message = SipMessage(bool(line["sent"]), str(line["transport"]), str(line["text"]))
            if message not in self.messages:  # a busy machine lets messages be sent again
                self.messages.append(message)
        elif line["event"] == "ready":
            self.port = int(str(line["port"]))
        else:
            self.events.append(line)
        news, self._news = self._news, trio.Event()
        news.set()


async def _read(phone: Phone) -> None:
    """Read the phone's lines until its output ends."""
    assert phone.process.stdout is not None
    rest = b""
    async for data in phone.process.stdout:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                phone.take(json.loads(line))


async def _stop(process: trio.Process) -> None:
    """End its input, which ends the phone; kill it when that takes too long."""
    with trio.move_on_after(STOP_S):
        assert process.stdin is not None
        await process.stdin.aclose()
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()


async def _be(options: PhoneOptions, *, task_status: trio.TaskStatus[Phone]) -> None:
    process = await trio.lowlevel.open_process(
        options.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        phone = Phone(options, process)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read, phone)
            if not await phone.wait(lambda: bool(phone.port), START_S):
                raise PhoneFailed(f"{options.user}: the phone did not start within {START_S:g} s")
            task_status.started(phone)
    finally:
        with trio.move_on_after(2 * STOP_S, shield=True):
            await _stop(process)
        if process.returncode:
            raise PhoneFailed(f"{options.user}: the phone ended with exit status {process.returncode}")


@asynccontextmanager
async def running_phones(*options: PhoneOptions) -> AsyncIterator[Sequence[Phone]]:
    """Phones for the time of the block, in the order of their options.

    Raises:
        PhoneFailed: one of them did not start.
    """
    phones: dict[int, Phone] = {}
    async with trio.open_nursery() as nursery:

        async def start(number: int) -> None:
            phones[number] = await nursery.start(_be, options[number])

        async with trio.open_nursery() as starting:
            for number in range(len(options)):
                starting.start_soon(start, number)
        yield [phones[number] for number in range(len(options))]
        nursery.cancel_scope.cancel()
