"""Whole calls over MoQ in virtual time: who hears whom, and how calls end."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.moqleg.caller import Caller, asked, open_world, tones
from vb.commands.registry import call
from vb.errors import InternalError, VbError
from vb.moq.codes import SessionCode
from vb.moq.fields import Filter
from vb.moq.publication import Track
from vb.moq.wire import Location
from vb.moqleg.leg import GOODBYE_S, SETUP_TIMEOUT_S
from vb.quic.session import Refusal


@pytest.mark.parametrize("group_frames", [0, 1])
async def test_two_callers_hear_each_other_in_a_room(autojump_clock: MockClock, group_frames: int) -> None:
    async with open_world() as world:
        first = await world.caller("room_id=r&app_id=shop", group_frames=group_frames)
        second = await world.caller("room_id=r")
        first.tone_hz, second.tone_hz = 500, 1300
        await world.run(1.0)
        first.mix.pcm(), second.mix.pcm()
        await world.run(1.0)
        heard = first.mix.pcm(), second.mix.pcm()
        assert [tones(pcm) for pcm in heard] == [{1300}, {500}]
        assert [pcm.size for pcm in heard] == [48000, 48000]


async def test_a_call_is_connected_at_once_and_never_rings(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        await world.caller(
            "room_id=r&app_id=shop", ("x-tenant", "7"), ("authorization", "Bearer abc"), ("accept", "a")
        )
        told = world.observed.told("leg_type", "app_id", "room_id")
        assert told == [
            ("room.created", None, "shop", "r"),
            ("leg.connected", "moq_in", "shop", None),
            ("leg.joined_room", None, "shop", "r"),
        ]
        (leg,) = world.engine.legs
        assert leg.headers == {"X-Tenant": "7", "Authorization": "Bearer abc"}


async def test_who_says_nothing_shares_one_encoding_with_others_who_do_not(autojump_clock: MockClock) -> None:
    async with open_world(COMFORT_NOISE_ENABLED="false") as world:
        speaker = await world.caller("room_id=r")
        listeners = [await world.caller("room_id=r") for _ in range(4)]
        speaker.tone_hz = 700
        await world.run(2.0)
        for listener in listeners:
            listener.mix.frames()
        await world.run(0.5)
        said = [[payload for _, _, payload in listener.mix.frames()] for listener in listeners]
        assert len(said[0]) == 25
        assert said.count(said[0]) == 4


async def test_the_bit_rate_is_as_the_settings_say(autojump_clock: MockClock) -> None:
    sizes = {}
    for bit_rate in (12_000, 64_000):
        async with open_world(MOQ_OPUS_BITRATE=str(bit_rate)) as world:
            first, second = await world.caller("room_id=r"), await world.caller("room_id=r")
            first.tone_hz, second.tone_hz = 500, 910
            await world.run(3.0)
            sizes[bit_rate] = sum(len(payload) for _, _, payload in second.mix.frames()) * 8 / 3
    assert 5_000 < sizes[12_000] < 18_000
    assert sizes[64_000] > 2 * sizes[12_000]


async def test_a_caller_that_announces_nothing_is_heard_as_well(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        shy, other = Caller(world), await world.caller("room_id=r")
        world.callers.append(shy)
        shy.call("room_id=r", announce=False)
        shy.tone_hz = 500
        await world.run(1.0)
        other.mix.pcm()
        await world.run(0.5)
        assert tones(other.mix.pcm()) == {500}


async def test_what_was_refused_is_asked_for_again_once_it_is_announced(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        late, other = Caller(world), await world.caller("room_id=r")
        world.callers.append(late)
        tracks, late.tracks = late.tracks, ()
        late.call("room_id=r", announce=False)
        await world.run(0.2)
        assert late.publications == []
        late.tracks, late.tone_hz = tracks, 500
        late.session.announce((b"mic",))
        await world.run(1.0)
        other.mix.pcm()
        await world.run(0.5)
        assert tones(other.mix.pcm()) == {500}


async def test_nothing_is_sent_before_it_is_asked_for_and_after_it_is_not(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        caller = Caller(world)
        world.callers.append(caller)
        caller.call("", hear=False)
        await world.run(0.5)
        assert caller.pair.server.sent.keys() == {0}
        subscription = caller.session.subscribe(Track((b"mix",), b"audio"), caller.mix.heard)
        await world.run(0.5)
        assert len(caller.mix.frames()) >= 24
        caller.session.unsubscribe(subscription)
        await world.run(0.1)
        caller.mix.frames()
        before = sum(caller.pair.server.sent.values())
        await world.run(0.5)
        assert sum(caller.pair.server.sent.values()) == before
        caller.session.subscribe(Track((b"mix",), b"audio"), caller.mix.heard)
        await world.run(0.5)
        assert len(caller.mix.frames()) >= 24


async def test_a_range_of_groups_is_sent_and_then_done(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        caller = Caller(world)
        world.callers.append(caller)
        caller.call("", hear=False)
        await world.settle()
        (leg,) = world.engine.legs
        caller.session.subscribe(Track((b"mix",), b"audio"), caller.mix.heard, Filter(4, Location(0, 0), 1))
        await world.run(3.0)
        assert len(caller.mix.frames()) == 100
        assert caller.ended_with() is None
        assert not leg.ended


async def test_lost_objects_are_concealed_and_late_ones_are_in_place(
    autojump_clock: MockClock,
) -> None:
    async with open_world() as world:
        first = await world.caller("room_id=r", group_frames=1)
        second = await world.caller("room_id=r")
        first.tone_hz = 500
        await world.run(1.0)
        second.mix.pcm()
        for number in range(50):
            first.speak()
            if number % 10 == 3:  # every tenth stream is lost for good, and two come in the wrong order
                first.pair.client.waiting.clear()
            if number % 10 == 6:
                first.speak()
                first.pair.client.waiting.rotate(1)
            first.pair.deliver()
            world.engine.plane.tick(trio.current_time(), trio.current_time())
            await trio.sleep(0.02)
            second.pair.deliver()
        pcm = second.mix.pcm()
        assert tones(pcm) == {500}
        levels = abs(pcm[: 48 * 960].reshape(-1, 960)).max(1)
        assert levels.min() > 2000


async def test_text_goes_both_ways_where_it_is_asked_for(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        typist = await world.caller("room_id=r&rtt=true", text=True)
        silent = await world.caller("room_id=r", text=True)
        ids = world.legs()
        typist.session.subscribe(Track((b"mix",), b"text"), typist.texts)
        silent.session.subscribe(Track((b"mix",), b"text"), silent.texts)
        await world.run(0.1)
        world.observed.events()
        said = typist.of(b"text")
        assert said is not None
        assert silent.of(b"text") is None
        assert silent.texts.end == "refused"
        said.send_alone("grüß dich".encode())
        said.send_alone(b"\xff\xfe")
        await world.run(0.1)
        assert world.observed.told("leg_id", "text")[0] == ("rtt.received", ids[0], "grüß dich")
        await call(world.engine, "send_leg_rtt", {"id": ids[0], "text": "hello"})
        await world.run(0.1)
        assert typist.texts.objects == [(0, 0, b"hello")]
        with pytest.raises(VbError):
            await call(world.engine, "send_leg_rtt", {"id": ids[1], "text": "hello"})
        assert world.kind.losses["in", "malformed"] == 1


async def test_a_slow_reader_loses_what_is_old_and_the_leg_says_so(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        slow, other = await world.caller("room_id=r"), await world.caller("room_id=r")
        other.tone_hz = 500
        await world.run(0.5)
        slow.pair.server.stalled = True
        await world.run(5.0)
        waiting = sum(slow.pair.server.unsent(stream) for stream in slow.pair.server.sent)
        assert waiting < 12_000
        assert world.kind.losses["out", "slow_reader"] > 100
        slow.pair.server.stalled = False
        await world.run(0.5)
        slow.mix.pcm()
        await world.run(0.5)
        assert tones(slow.mix.pcm()) == {500}
        told = world.observed.told("direction", "reason")
        assert ("leg.audio_dropped", "out", "slow_reader") in told


async def test_the_far_end_hangs_up_by_closing_its_session(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        caller = await world.caller("room_id=r")
        world.observed.events()
        caller.session.close("bye")
        await world.settle()
        (left, ended, *_) = world.observed.events()
        assert left.as_dict()["type"] == "leg.left_room"
        assert ended.as_dict()["cdr"]["reason"] == "hangup"
        assert ended.as_dict().get("quality") is None
        assert world.legs() == []
        assert world.engine.plane.ports == 0


@pytest.mark.parametrize("how", ["violation", "loss"])
async def test_an_error_or_the_loss_of_the_far_end_is_a_moq_error(
    autojump_clock: MockClock, how: str
) -> None:
    async with open_world() as world:
        caller = await world.caller()
        world.observed.events()
        if how == "violation":
            caller.pair.client.send(0, b"\x3f\0\0")
        else:
            caller.pair.client.close(0x1, "idle timeout")
        await world.settle()
        (ended,) = world.observed.events()
        assert ended.as_dict()["cdr"]["reason"] == "moq_error"


async def test_a_client_that_never_says_anything_is_let_go(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        caller = Caller(world)
        answer = world.kind.accept(asked(), caller.pair.server)
        assert not isinstance(answer, Refusal)
        caller.pair.server.receiver = answer
        await trio.sleep(SETUP_TIMEOUT_S + 0.1)
        caller.pair.deliver()
        assert caller.ended_with() == (SessionCode.CONTROL_MESSAGE_TIMEOUT, "no setup came")
        assert world.observed.told()[-1] == ("leg.disconnected",)
        assert world.legs() == []


async def test_a_command_hangs_up_and_the_far_end_is_told(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        caller = await world.caller()
        await call(world.engine, "delete_leg", {"id": world.legs()[0]})
        await world.settle()
        assert world.observed.told()[-1] == ("leg.disconnected",)
        await trio.sleep(0.1)
        caller.pair.deliver()
        assert caller.mix.heard.end == "api_hangup"
        assert caller.ended_with() == (0, "api_hangup")


async def test_what_the_protocol_has_no_way_for_is_declined(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        await world.caller()
        (leg_id,) = world.legs()
        with pytest.raises(InternalError, match="DTMF over MoQ is not supported"):
            await call(world.engine, "send_leg_dtmf", {"id": leg_id, "digits": "1"})
        for command in ("hold_leg", "answer_leg"):
            with pytest.raises(VbError):
                await call(world.engine, command, {"id": leg_id})
        assert len(world.legs()) == 1


async def test_speaking_is_told_where_the_settings_say_so(autojump_clock: MockClock) -> None:
    async with open_world(SPEECH_DETECTION_ENABLED="true") as world:
        caller = await world.caller()
        caller.tone_hz = 500
        await world.run(0.5)
        caller.tone_hz = 0
        await world.run(0.7)
        kinds = [published.event.type for published in world.observed.events()]
        assert [kind for kind in kinds if kind.startswith("speaking")] == [
            "speaking.started",
            "speaking.stopped",
        ]


async def test_a_muted_caller_is_not_heard_and_a_deaf_one_hears_nothing(autojump_clock: MockClock) -> None:
    async with open_world(COMFORT_NOISE_ENABLED="false") as world:
        first, second = await world.caller("room_id=r"), await world.caller("room_id=r")
        first.tone_hz, second.tone_hz = 500, 900
        ids = world.legs()
        await call(world.engine, "mute_leg", {"id": ids[0]})
        await world.run(1.0)
        second.mix.pcm(), first.mix.pcm()
        await world.run(0.5)
        assert tones(second.mix.pcm()) == set()
        assert tones(first.mix.pcm()) == {900}


@pytest.mark.parametrize(
    ("query", "environ", "status", "words"),
    [
        ("sample_rate=16000", {}, 400, "sample_rate: must be 48000"),
        ("sample_rate=abc", {}, 400, "sample_rate: must be 48000"),
        ("room_id=a/b", {}, 400, "room_id"),
        ("rtt=maybe", {}, 400, "rtt: must be true or false"),
        ("webhook_url=ftp://x", {}, 400, "webhook_url"),
        ("webhook_url=http://127.0.0.1/", {}, 400, "webhook_url"),
        ("app_id=" + 300 * "x", {}, 400, "app_id: has more than 256 characters"),
        ("", {"VB_MAX_LEGS": "1"}, 503, "the cap of 1 legs is reached"),
    ],
)
async def test_a_refused_request_is_told_why_and_leaves_nothing(
    autojump_clock: MockClock, query: str, environ: dict[str, str], status: int, words: str
) -> None:
    async with open_world(**environ) as world:
        if "VB_MAX_LEGS" in environ:
            await world.caller()
        before = world.legs()
        world.observed.events()
        answer = world.kind.accept(asked(query), Caller(world).pair.server)
        assert isinstance(answer, Refusal)
        assert answer.status == status
        assert words in answer.message
        await world.settle()
        assert world.legs() == before
        assert world.observed.events() == []


async def test_48000_is_a_rate(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        await world.caller("sample_rate=48000")
        assert len(world.legs()) == 1


async def test_a_server_that_stops_takes_no_session(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.engine.life.stopping = True
        answer = world.kind.accept(asked(), Caller(world).pair.server)
        assert isinstance(answer, Refusal)
        assert answer.status == 503


async def test_a_guard_is_asked_first(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.kind.guard = lambda request: Refusal(401, "unauthorized")
        assert world.kind.accept(asked("rtt=maybe"), Caller(world).pair.server) == Refusal(
            401, "unauthorized"
        )


async def test_tokens_of_this_server_are_no_header_of_a_leg(autojump_clock: MockClock) -> None:
    async with open_world(VB_API_TOKENS="s" * 30) as world:
        await world.caller("", ("authorization", "Bearer " + "s" * 30), ("p-id", "1"))
        (leg,) = world.engine.legs
        assert leg.headers == {"P-Id": "1"}


async def test_nothing_is_left_of_many_calls(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        for _ in range(20):
            caller = await world.caller("room_id=r")
            await world.run(0.04)
            caller.session.close()
            await world.settle()
            world.callers.clear()
        assert world.legs() == []
        assert world.engine.plane.ports == 0
        assert world.engine.legs.running == 0


async def test_a_far_end_that_takes_no_goodbye_is_not_waited_for_long(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        caller = await world.caller()
        await world.run(0.1)
        caller.pair.server.stalled = True
        begun = trio.current_time()
        await call(world.engine, "delete_leg", {"id": world.legs()[0]})
        await world.settle()
        assert world.observed.told()[-1] == ("leg.disconnected",)
        await world.engine.legs.wait_idle()
        assert trio.current_time() - begun == pytest.approx(GOODBYE_S, abs=0.1)
        assert caller.pair.server.closes == [(0, "api_hangup")]


async def test_a_fault_on_the_way_out_ends_that_leg_alone(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world() as world:
        broken, other = await world.caller("room_id=r"), await world.caller("room_id=r")
        await world.run(0.1)

        def fail(stream: int, data: bytes, *, fin: bool = False) -> None:
            raise RuntimeError("no more")

        monkeypatch.setattr(broken.pair.server, "send", fail)
        world.observed.events()
        other.mix.frames()
        await world.run(0.5)
        ended = [one.as_dict() for one in world.observed.events() if one.event.type == "leg.disconnected"]
        assert [frame["cdr"]["reason"] for frame in ended] == ["internal_error"]
        assert len(other.mix.frames()) >= 24
        assert len(world.legs()) == 1
