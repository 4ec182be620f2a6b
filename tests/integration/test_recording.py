"""Recordings of real calls: their files, names and last words."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.support.audio import load_wav
from tests.support.phone import open_phone
from tests.support.world import call_in, rest_of, wait_for
from vb.commands.views import RecordingStart, RecordingStop, RoomRecordingStop
from vb.config import Config
from vb.errors import BadRequest, Conflict, NotFound, VbError
from vb.server import Server, open_server

pytestmark = pytest.mark.integration


async def stop_room(server: Server, room: str) -> RoomRecordingStop:
    result = await server.call("room_record_stop", id=room)
    assert isinstance(result, RoomRecordingStop)
    return result


async def move(server: Server, leg_id: str, room: str) -> None:
    await server.call("add_leg_to_room", room_id=room, leg_id=leg_id)


async def test_every_participant_has_a_channel_of_its_own(config: Config) -> None:
    async with (
        open_server(config) as server,
        open_phone(500) as one,
        open_phone(800) as two,
        open_phone(1100) as three,
    ):
        with server.events() as events:
            legs = [await call_in(server, phone, events, "r") for phone in (one, two)]
            started = await server.call("room_record_start", id="r", multi_channel=True)
            assert isinstance(started, RecordingStart)
            await one.hear(40)
            legs.append(await call_in(server, three, events, "r"))
            await one.hear(40)
            await server.call("remove_leg_from_room", room_id="r", leg_id=legs[1])
            await one.hear(30)
            result = await stop_room(server, "r")
            finished = await wait_for(events, "recording.finished", room_id="r")
    assert (result.file, result.error, result.omitted_legs) == (started.file, None, None)
    assert result.multi_channel_file is not None
    assert result.channels is not None
    assert finished["multi_channel_file"] == result.multi_channel_file
    assert finished["channels"] == {leg: info.model_dump() for leg, info in result.channels.items()}
    assert "_multichannel_" in result.multi_channel_file
    mono, multi = load_wav(result.file), load_wav(result.multi_channel_file)
    assert (multi.rate_hz, multi.channels) == (16000, 3)
    assert mono.duration_ms == multi.duration_ms
    total = int(multi.duration_ms)
    first, second, third = (result.channels[leg] for leg in legs)
    assert [info.channel for info in (first, second, third)] == [0, 1, 2]
    assert (first.start_ms, first.end_ms, second.start_ms, third.end_ms) == (0, total, 0, total)
    assert 600 < third.start_ms < second.end_ms < total - 300
    assert multi.tones(0, 100) == {500}
    assert multi.tones(1, 100, second.end_ms - 50) == {800}
    assert multi.tones(2, third.start_ms + 100) == {1100}
    assert multi.level(2, 0, third.start_ms) == 0
    assert multi.level(1, second.end_ms + 20, total) == 0
    assert os.listdir(Path(result.file).parent) != []
    assert not [name for name in os.listdir(Path(result.file).parent) if name.startswith(".")]


async def test_who_leaves_and_returns_keeps_the_channel_and_both_stretches(config: Config) -> None:
    async with open_server(config) as server, open_phone(500) as one, open_phone(800) as two:
        with server.events() as events:
            await call_in(server, one, events, "r")
            guest = await call_in(server, two, events, "r")
            await server.call("room_record_start", id="r", multi_channel=True)
            await one.hear(40)
            await move(server, guest, "aside")
            await one.hear(40)
            await move(server, guest, "r")
            await one.hear(40)
            result = await stop_room(server, "r")
    assert result.channels is not None
    assert result.multi_channel_file is not None
    multi = load_wav(result.multi_channel_file)
    assert multi.channels == 2
    info = result.channels[guest]
    assert (info.channel, info.start_ms, info.end_ms) == (1, 0, int(multi.duration_ms))
    assert multi.tones(1, 100, 600) == {800}
    assert multi.level(1, 1000, 1400) == 0
    assert multi.tones(1, multi.duration_ms - 500) == {800}


async def test_a_muted_participant_is_on_its_channel_and_not_in_the_mix(config: Config) -> None:
    async with open_server(config) as server, open_phone(500) as one, open_phone(800) as two:
        with server.events() as events:
            await call_in(server, one, events, "r")
            muted = await call_in(server, two, events, "r")
            await server.call("mute_leg", id=muted)
            await server.call("room_record_start", id="r", multi_channel=True)
            await one.hear(50)
            result = await stop_room(server, "r")
    assert result.multi_channel_file is not None
    assert load_wav(result.file).tones(0, 100) == {500}
    assert load_wav(result.multi_channel_file).tones(1, 100) == {800}


async def test_a_pause_silences_all_channels_and_late_joiners_too(config: Config) -> None:
    async with open_server(config) as server, open_phone(500) as one, open_phone(800) as two:
        with server.events() as events:
            await call_in(server, one, events, "r")
            await server.call("room_record_start", id="r", multi_channel=True)
            await one.hear(30)
            await server.call("room_record_pause", id="r")
            await call_in(server, two, events, "r")
            await one.hear(30)
            await server.call("room_record_resume", id="r")
            await one.hear(40)
            result = await stop_room(server, "r")
    assert result.multi_channel_file is not None
    multi, mono = load_wav(result.multi_channel_file), load_wav(result.file)
    for wav in (multi, mono):
        assert wav.tones(0, 100, 500) == {500}
        assert wav.level(0, 800, 1150) == 0
        assert wav.level(0, wav.duration_ms - 500, wav.duration_ms) > 1000
    assert multi.level(1, 0, 1150) == 0
    assert multi.tones(1, multi.duration_ms - 500) == {800}


async def test_without_the_flag_there_is_one_file(config: Config) -> None:
    async with open_server(config) as server, open_phone(500) as one:
        with server.events() as events:
            await call_in(server, one, events, "r")
            await server.call("room_record_start", id="r")
            await one.hear(20)
            result = await stop_room(server, "r")
            finished = await wait_for(events, "recording.finished")
    assert result.model_dump(exclude_none=True) == {"status": "stopped", "file": result.file}
    assert {"multi_channel_file", "channels", "omitted_legs", "error"}.isdisjoint(finished)
    assert os.listdir(Path(result.file).parent) == [Path(result.file).name]


async def test_the_last_leg_to_leave_finishes_both_files(config: Config) -> None:
    async with open_server(config) as server, open_phone(500) as phone:
        with server.events() as events:
            leg_id = await call_in(server, phone, events, "r")
            await server.call("room_record_start", id="r", multi_channel=True)
            await phone.hear(30)
            phone.calls[0].hangup()
            finished = await wait_for(events, "recording.finished", room_id="r")
            await wait_for(events, "leg.disconnected", leg_id=leg_id)
            with pytest.raises(NotFound):
                await server.call("room_record_stop", id="r")
    assert load_wav(finished["multi_channel_file"]).channels == 1
    assert finished["channels"][leg_id]["end_ms"] == int(load_wav(finished["file"]).duration_ms)


async def test_a_recorded_leg_moves_between_rooms_of_other_rates(config: Config) -> None:
    async with (
        open_server(config) as server,
        open_phone(500) as one,
        open_phone(800) as two,
        open_phone(1100) as three,
    ):
        with server.events() as events:
            await server.call("create_room", id="narrow", sample_rate=8000)
            await server.call("create_room", id="wide", sample_rate=48000)
            moving = await call_in(server, one, events)
            await call_in(server, two, events, "narrow")
            await call_in(server, three, events, "wide")
            await server.call("leg_record_start", id=moving)
            await one.hear(30)
            await move(server, moving, "narrow")
            await one.hear(50)
            await move(server, moving, "wide")
            await one.hear(50)
            await server.call("remove_leg_from_room", room_id="wide", leg_id=moving)
            await one.hear(30)
            result = await server.call("leg_record_stop", id=moving)
            assert isinstance(result, RecordingStop)
    wav = load_wav(result.file)
    assert (wav.channels, wav.rate_hz) == (2, 8000)
    assert 3100 < wav.duration_ms < 3700
    assert wav.tones(0, 100) == {500}
    quiet = [wav.level(0, start, start + 40) for start in range(100, int(wav.duration_ms) - 60, 20)]
    assert min(quiet) > 3000
    assert wav.tones(1, 800, 1500) == {800}
    assert wav.tones(1, 1900, 2500) == {1100}
    assert wav.level(1, wav.duration_ms - 300, wav.duration_ms) < 50


async def test_a_room_recorded_on_its_own_goes_on_when_the_first_leg_leaves(config: Config) -> None:
    async with open_server(config) as server, open_phone(500) as one, open_phone(800) as two:
        with server.events() as events:
            first = await call_in(server, one, events, "r")
            await call_in(server, two, events, "r")
            await server.call("room_record_start", id="r")
            await two.hear(30)
            await server.call("delete_leg", id=first)
            await wait_for(events, "leg.disconnected", leg_id=first)
            await two.hear(40)
            result = await stop_room(server, "r")
    wav = load_wav(result.file)
    assert wav.tones(0, wav.duration_ms - 500) == {800}


async def test_a_chosen_name_is_used_once(config: Config) -> None:
    async with open_server(config) as server, open_phone(500) as one, open_phone(800) as two:
        with server.events() as events:
            leg = await call_in(server, one, events, "r")
            other = await call_in(server, two, events, "r")
            started = await server.call("leg_record_start", id=leg, filename="case.4711")
            assert isinstance(started, RecordingStart)
            assert started.file == f"{config.recording.dir}/case.4711.wav"
            for command, owner in (("room_record_start", "r"), ("leg_record_start", other)):
                with pytest.raises(Conflict):
                    await server.call(command, id=owner, filename="case.4711")
            assert os.listdir(config.recording.dir)[0].startswith(".rec-")
            await one.hear(15)
            result = await server.call("leg_record_stop", id=leg)
            assert isinstance(result, RecordingStop)
            assert result.file == started.file
            before = load_wav(result.file)
            with pytest.raises(Conflict):
                await server.call("room_record_start", id="r", filename="case.4711.wav")
            assert load_wav(result.file).pcm.tobytes() == before.pcm.tobytes()
            with pytest.raises(BadRequest):
                await server.call("room_record_start", id="r", filename="../case")
            await server.call("room_record_start", id="r", filename="case.4712")
            with pytest.raises(Conflict):
                await server.call("room_record_start", id="r")


async def record_and_die(directory: Path) -> None:
    """Run a server with a recording in a process that is killed."""
    program = Path(__file__).with_name("killed_server.py")
    process = await trio.run_process(
        [sys.executable, str(program), str(directory)], check=False, capture_stderr=True
    )
    assert process.returncode == -9, process.stderr.decode()


async def test_the_recordings_of_a_killed_server_are_recovered_by_the_next(config: Config) -> None:
    directory = Path(config.recording.dir)
    await record_and_die(directory)
    left = sorted(os.listdir(directory))
    assert len(left) == 2
    assert all(name.startswith(".rec-") for name in left)
    async with open_server(config):
        with trio.fail_after(10):
            while any(name.startswith(".") for name in os.listdir(directory)):  # noqa: ASYNC110 -- only files tell
                await trio.sleep(0.01)
    assert not [name for name in os.listdir(directory) if name.startswith(".")]
    found = [load_wav(str(directory / name)) for name in sorted(os.listdir(directory))]
    assert sorted(wav.channels for wav in found) == [1, 2]
    assert all(wav.duration_ms >= 1000 for wav in found)
    assert found[0].tones(0, 100) == {500}


async def test_a_bad_request_leaves_no_recording_behind(config: Config) -> None:
    async with open_server(config) as server, open_phone(500) as one:
        with server.events() as events:
            leg = await call_in(server, one, events)
            for fields, status in (
                ({"storage": "s3"}, 400),
                ({"storage": "gcs"}, 400),
                ({"storage": "tape"}, 400),
                ({"storage": "s3", "s3_bucket": "a/b"}, 400),
                ({"storage": "s3", "s3_bucket": "rec", "s3_endpoint": "http://s3.example.com"}, 400),
                ({"storage": "s3", "s3_bucket": "rec", "s3_access_key": "half"}, 400),
                ({"storage": "gcs", "gcs_bucket": "b"}, 501),
                ({"filename": "a/b"}, 400),
            ):
                with pytest.raises(VbError) as caught:
                    await server.call("leg_record_start", id=leg, **fields)
                assert caught.value.status == status, fields
            assert [item for item in await rest_of(events, 0.05) if "recording" in item["type"]] == []
            await server.call("leg_record_start", id=leg)
