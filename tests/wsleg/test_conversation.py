"""What becomes of a program's messages, and what it is told, in virtual time."""

from __future__ import annotations

import json

import trio
import trio.testing

from vb.web.message import Message
from vb.wsleg.audio_in import AudioIn
from vb.wsleg.conversation import CONTROLS_PER_S, FLOOD_PAUSE_S, Conversation
from vb.wsleg.losses import Counts, Loss, Losses
from vb.wsleg.socket import Outbox, SocketEnd, Take


class Wire:
    """A WebSocket that keeps what is sent, as long as there is room."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.room = 1000
        self.flushed = 0

    def frame(self, message: Message) -> bytes:
        return message.encode() if isinstance(message, str) else message

    def put(self, frame: bytes) -> bool:
        if len(self.sent) >= self.room:
            return False
        self.sent.append(frame)
        return True

    def flush(self) -> None:
        self.flushed += 1

    async def serve(self, take: Take) -> SocketEnd:
        raise NotImplementedError

    def close(self, code: int) -> None:
        raise NotImplementedError

    async def wait_closed(self) -> None:
        raise NotImplementedError


class Talk:
    """A conversation with everything around it."""

    def __init__(self, *, text: bool = True) -> None:
        self.wire = Wire()
        self.outbox = Outbox()
        self.audio = AudioIn(16000)
        self.totals: Counts = {}
        self.texts: list[str] = []
        self.stops = 0
        self.conversation = Conversation(
            self.wire,
            self.outbox,
            self.audio,
            "binary",
            Losses(self.totals),
            on_text=self.texts.append if text else None,
            on_stop=self.stop,
            log_id="x",
        )

    def stop(self) -> None:
        self.stops += 1

    def hears(self, *messages: Message | dict[str, object]) -> float:
        return self.conversation.take([json.dumps(m) if isinstance(m, dict) else m for m in messages])

    @property
    def said(self) -> list[dict[str, object]]:
        return [json.loads(frame) for frame in self.wire.sent]


async def test_everything_finds_its_way() -> None:
    talk = Talk()
    pause_s = talk.hears(
        bytes(640), {"type": "text", "text": "a"}, {"type": "ping", "event_id": 1}, {"type": "stop"}
    )
    assert (pause_s, talk.audio.waiting_ms, talk.texts, talk.stops) == (0.0, 20, ["a"], 1)
    assert talk.said == [{"type": "pong", "event_id": 1}]


async def test_text_that_nobody_asked_for_is_dropped_in_silence() -> None:
    talk = Talk(text=False)
    assert talk.hears({"type": "text", "text": "a"}) == 0.0
    assert talk.totals == {}


async def test_what_is_lost_is_counted_and_slows_the_program_down() -> None:
    talk = Talk()
    assert talk.hears(bytes(32_000)) == 0.0
    assert talk.hears(bytes(640), b"x", "junk") == FLOOD_PAUSE_S
    assert talk.totals == {("in", "overflow"): 1, ("in", "malformed"): 2}


async def test_texts_and_pings_beyond_what_one_program_may_send_are_dropped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    talk = Talk()
    flood = [{"type": "ping", "event_id": number} for number in range(CONTROLS_PER_S + 20)]
    assert talk.hears(*flood) == FLOOD_PAUSE_S
    assert len(talk.said) == CONTROLS_PER_S
    assert talk.totals == {("in", "flood"): 20}
    await trio.sleep(1)
    assert talk.hears({"type": "text", "text": "again"}) == 0.0
    assert talk.texts == ["again"]


async def test_it_is_asked_every_half_minute_whether_it_is_there(
    autojump_clock: trio.testing.MockClock,
) -> None:
    talk = Talk()
    with trio.move_on_after(95):
        await talk.conversation.ping()
    assert talk.said == [{"type": "ping", "event_id": number} for number in (1, 2, 3)]


async def test_losses_are_reported_soon_and_then_every_few_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    talk, told = Talk(), list[tuple[float, Loss]]()
    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            talk.conversation.report, lambda loss: told.append((trio.current_time() - begun, loss))
        )
        for _ in range(20):
            talk.hears(b"x")
            await trio.sleep(0.5)
        nursery.cancel_scope.cancel()
    assert [round(at, 1) for at, _ in told] == [0.5, 6.0]
    assert sum(loss.count for _, loss in told) <= 20
    assert talk.said[0]["type"] == "audio_dropped"
    assert talk.said[0]["reason"] == "malformed"


async def test_what_has_no_room_is_not_said() -> None:
    talk = Talk()
    talk.wire.room = 0
    assert not talk.conversation.say("x")


async def test_frames_of_one_tick_go_out_with_one_write() -> None:
    talk = Talk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.outbox.run)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            assert talk.conversation.say("x")
        assert talk.wire.flushed == 0
        await trio.testing.wait_all_tasks_blocked()
        assert talk.wire.flushed == 1
        nursery.cancel_scope.cancel()
