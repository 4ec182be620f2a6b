import errno
import os
import shutil
import stat
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.media.support import peaks_hz, sine
from vb.recording.recorder import Recorder
from vb.recording.recording_writer import ParticipantsWriter, RecordingWriter

NAME = "20260304_050607_0a1b2c3d.wav"


def start(directory: Path, channels: int = 2, name: str = NAME) -> tuple[Recorder, RecordingWriter]:
    recorder = Recorder(channels=channels, clock=lambda: 0.0, max_queued_slots=10_000)
    writer = RecordingWriter(directory / name, token="0a1b2c3d", recorder=recorder)
    writer.open()
    return recorder, writer


def queue(recorder: Recorder, *channels: np.ndarray, rate_hz: int = 8000) -> None:
    """Queue whole channels of audio, frame by frame."""
    if recorder.rate_hz is None:
        recorder.rate_hz = rate_hz
    for row in zip(*(channel.reshape(-1, rate_hz // 50) for channel in channels), strict=True):
        recorder.queue.append(tuple((frame, rate_hz) for frame in row))


def load(path: Path) -> tuple[int, np.ndarray]:
    with wave.open(str(path)) as file:
        assert file.getsampwidth() == 2
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return file.getframerate(), data.reshape(-1, file.getnchannels())


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def test_a_finished_file_has_both_channels_and_nothing_is_left_over(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "recordings"
    recorder, writer = start(directory)
    left, right = sine(500, 8000, 1.0), sine(900, 8000, 1.0)
    queue(recorder, left, right)
    assert [name for name in names(directory) if name.endswith(".wav")] == []
    result = writer.finish()
    rate_hz, pcm = load(directory / NAME)
    assert (result.file, result.duration_ms, result.error) == (str(directory / NAME), 1000, None)
    assert rate_hz == 8000
    assert np.array_equal(pcm[:, 0], left)
    assert np.array_equal(pcm[:, 1], right)
    assert names(directory) == [NAME]
    assert stat.S_IMODE((directory / NAME).stat().st_mode) == 0o644
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755


@pytest.fixture
def own_files_only() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("own_files_only")
def test_who_narrows_the_permissions_of_the_process_has_recordings_of_his_own(tmp_path: Path) -> None:
    directory = tmp_path / "new"
    recorder, writer = start(directory)
    queue(recorder, sine(500, 8000, 1.0), sine(900, 8000, 1.0))
    writer.finish()
    assert stat.S_IMODE((directory / NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_the_temporary_file_is_hidden_and_private(tmp_path: Path) -> None:
    _, writer = start(tmp_path)
    (name,) = names(tmp_path)
    assert name.startswith(".rec-")
    assert name.endswith(".tmp")
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    writer.finish()


def test_audio_written_in_pieces_is_one_stream(tmp_path: Path) -> None:
    recorder, writer = start(tmp_path, channels=1)
    pcm = sine(440, 16000, 2.0)
    for part in np.split(pcm, 4):
        queue(recorder, part, rate_hz=16000)
        writer.write_pending()
    writer.finish()
    assert np.array_equal(load(tmp_path / NAME)[1][:, 0], pcm)


def test_gaps_and_stalled_sides_are_silent(tmp_path: Path) -> None:
    recorder, writer = start(tmp_path)
    recorder.rate_hz = 8000
    tone = np.full(160, 9, np.int16)
    recorder.queue.extend([((tone, 8000), None), 123, (None, (tone, 8000))])
    result = writer.finish()
    _, pcm = load(tmp_path / NAME)
    assert result.duration_ms == 125 * 20
    assert pcm[:160].sum(axis=0).tolist() == [1440, 0]
    assert not pcm[160:-160].any()
    assert pcm[-160:].sum(axis=0).tolist() == [0, 1440]


@pytest.mark.parametrize("other_hz", [16000, 48000])
def test_frames_of_another_rate_are_resampled_to_the_rate_of_the_file(tmp_path: Path, other_hz: int) -> None:
    recorder, writer = start(tmp_path, channels=1)
    queue(recorder, sine(500, 8000, 1.0), rate_hz=8000)
    queue(recorder, sine(700, other_hz, 1.2), rate_hz=other_hz)
    writer.finish()
    rate_hz, pcm = load(tmp_path / NAME)
    assert rate_hz == 8000
    assert pcm.shape == (17_600, 1)
    assert peaks_hz(pcm[:8000, 0], 8000, above=100) == {500}
    assert peaks_hz(pcm[-8000:, 0], 8000, above=100) == {700}


def test_nothing_captured_leaves_nothing(tmp_path: Path) -> None:
    _, writer = start(tmp_path)
    assert writer.finish().file == ""
    assert names(tmp_path) == []


def test_another_file_of_that_name_is_never_overwritten(tmp_path: Path) -> None:
    recorder, writer = start(tmp_path, channels=1)
    (tmp_path / NAME).write_text("precious")
    queue(recorder, sine(500, 8000, 0.2))
    result = writer.finish()
    beside = tmp_path / "20260304_050607_0a1b2c3d_0a1b2c3d.wav"
    assert (result.file, result.error) == (str(beside), None)
    assert load(beside)[1].shape == (1600, 1)
    assert (tmp_path / NAME).read_text() == "precious"
    assert names(tmp_path) == [NAME, beside.name]


def test_a_temporary_file_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / ".rec-0a1b2c3d.tmp").symlink_to(tmp_path / "target")
    with pytest.raises(FileExistsError):
        start(tmp_path)
    assert (tmp_path / "target").read_text() == "precious"


def test_a_name_of_a_device_elsewhere_is_a_plain_file(tmp_path: Path) -> None:
    recorder, writer = start(tmp_path, channels=1, name="CON.wav")
    queue(recorder, sine(500, 8000, 0.2))
    assert writer.finish().file == str(tmp_path / "CON.wav")
    assert (tmp_path / "CON.wav").is_file()
    assert load(tmp_path / "CON.wav")[1].shape == (1600, 1)
    assert names(tmp_path) == ["CON.wav"]


@pytest.mark.parametrize("target", ["precious", "nowhere", "."])
@pytest.mark.parametrize("has_hard_links", [True, False])
def test_a_link_in_the_place_of_the_file_is_neither_followed_nor_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, has_hard_links: bool
) -> None:
    inside, outside = tmp_path / "recordings", tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    recorder, writer = start(inside, channels=1)
    (inside / NAME).symlink_to(outside / target)
    if not has_hard_links:

        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, "no hard links here")

        monkeypatch.setattr(os, "link", refuse)
    queue(recorder, sine(500, 8000, 0.2))
    result = writer.finish()
    beside = inside / "20260304_050607_0a1b2c3d_0a1b2c3d.wav"
    assert (result.file, result.error) == (str(beside), None)
    assert not beside.is_symlink()
    assert load(beside)[1].shape == (1600, 1)
    assert os.readlink(inside / NAME) == str(outside / target)
    assert names(inside) == [NAME, beside.name]
    assert names(outside) == ["precious"]
    assert (outside / "precious").read_text() == "precious"


def test_a_link_in_the_place_of_the_folder_loses_nothing_outside(tmp_path: Path) -> None:
    """An operator may link the folder elsewhere: what lies there already is as safe as in a plain folder."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / NAME).write_text("precious")
    (outside / ".rec-0a1b2c3d.tmp").write_text("of somebody else")
    (tmp_path / "recordings").symlink_to(outside, target_is_directory=True)
    with pytest.raises(FileExistsError):
        start(tmp_path / "recordings", channels=1)
    (outside / ".rec-0a1b2c3d.tmp").unlink()
    recorder, writer = start(tmp_path / "recordings", channels=1)
    queue(recorder, sine(500, 8000, 0.2))
    result = writer.finish()
    beside = "20260304_050607_0a1b2c3d_0a1b2c3d.wav"
    assert result.file == str(tmp_path / "recordings" / beside)
    assert names(outside) == [NAME, beside]
    assert (outside / NAME).read_text() == "precious"
    assert load(outside / beside)[1].shape == (1600, 1)


def test_a_folder_that_becomes_a_link_meanwhile_gets_nothing_over_what_is_there(tmp_path: Path) -> None:
    directory, outside = tmp_path / "recordings", tmp_path / "outside"
    outside.mkdir()
    (outside / NAME).write_text("precious")
    recorder, writer = start(directory, channels=1)
    queue(recorder, sine(500, 8000, 0.2))
    writer.write_pending()
    shutil.rmtree(directory)
    directory.symlink_to(outside, target_is_directory=True)
    writer.finish()
    assert (outside / NAME).read_text() == "precious"
    assert not [name for name in names(outside) if name.endswith(".tmp")]


def test_a_directory_that_vanishes_is_made_again_with_the_whole_recording(tmp_path: Path) -> None:
    directory = tmp_path / "recordings"
    recorder, writer = start(directory, channels=1)
    pcm = sine(500, 8000, 2.0)
    queue(recorder, pcm[:8000])
    writer.write_pending()
    shutil.rmtree(directory)
    queue(recorder, pcm[8000:])
    result = writer.finish()
    assert (result.file, result.error) == (str(directory / NAME), None)
    assert np.array_equal(load(directory / NAME)[1][:, 0], pcm)
    assert names(directory) == [NAME]


def test_a_directory_that_becomes_a_file_loses_the_recording_with_an_error(tmp_path: Path) -> None:
    directory = tmp_path / "recordings"
    recorder, writer = start(directory, channels=1)
    queue(recorder, sine(500, 8000, 0.2))
    shutil.rmtree(directory)
    directory.write_text("not a directory")
    result = writer.finish()
    assert result.file == ""
    assert "cannot write the recording" in (result.error or "")


def test_a_full_disk_keeps_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, writer = start(tmp_path, channels=1)
    pcm = sine(500, 8000, 1.0)
    queue(recorder, pcm)
    writer.write_pending()
    room = iter([1000])
    real_write = os.pwrite

    def pwrite(fd: int, data: memoryview, offset: int) -> int:
        if offset == 0:
            return real_write(fd, data, offset)
        if (left := next(room, None)) is None:
            raise OSError(28, "No space left on device")
        return real_write(fd, data[:left], offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    queue(recorder, pcm)
    writer.write_pending()
    assert "No space left" in (writer.error or "")
    queue(recorder, pcm)
    result = writer.finish()
    assert result.file == str(tmp_path / NAME)
    assert "No space left" in (result.error or "")
    assert np.array_equal(load(tmp_path / NAME)[1][:8000, 0], pcm)
    assert result.duration_ms == 1062
    assert not recorder.queue


def test_a_disk_that_takes_nothing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, writer = start(tmp_path, channels=1)

    def pwrite(fd: int, data: memoryview, offset: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", pwrite)
    queue(recorder, sine(500, 8000, 1.0))
    result = writer.finish()
    assert (result.file, result.duration_ms) == ("", 0)
    assert "No space left" in (result.error or "")
    assert names(tmp_path) == []


def test_a_disk_that_is_full_from_the_start_is_an_error_without_residue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pwrite(fd: int, data: memoryview, offset: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(OSError, match="No space"):
        start(tmp_path)
    assert names(tmp_path) == []


def test_writing_after_the_finish_does_nothing(tmp_path: Path) -> None:
    recorder, writer = start(tmp_path, channels=1)
    queue(recorder, sine(500, 8000, 0.2))
    writer.finish()
    queue(recorder, sine(500, 8000, 0.2))
    writer.write_pending()
    writer.open()
    assert load(tmp_path / NAME)[1].shape == (1600, 1)
    assert names(tmp_path) == [NAME]


def test_the_error_of_an_overrun_is_reported_with_the_file(tmp_path: Path) -> None:
    recorder, writer = start(tmp_path, channels=1)
    queue(recorder, sine(500, 8000, 0.2))
    recorder.fail("the disk cannot keep up")
    result = writer.finish()
    assert (result.file, result.error) == (str(tmp_path / NAME), "the disk cannot keep up")


def participants(directory: Path) -> tuple[Recorder, RecordingWriter, ParticipantsWriter]:
    recorder = Recorder(channels=1, clock=lambda: 0.0, rate_hz=8000, max_queued_slots=100_000)
    channels = ParticipantsWriter(directory, token="0a1b2c3d", rate_hz=8000)
    writer = RecordingWriter(directory / NAME, token="0a1b2c3d", recorder=recorder, participants=channels)
    writer.open()
    return recorder, writer, channels


def test_the_mix_and_the_participants_are_two_files_of_one_length(tmp_path: Path) -> None:
    recorder, writer, channels = participants(tmp_path)
    mix, one, two = (sine(hz, 8000, 1.0) for hz in (500, 700, 900))
    queue(recorder, mix[:4000], one[:4000])
    queue(recorder, mix[4000:], one[4000:], two[4000:])
    recorder.queue.append(10)
    assert writer.finish().duration_ms == 1200
    multi = tmp_path / "multi.wav"
    assert channels.finish(multi) == str(multi)
    assert (channels.channels, channels.error) == (2, None)
    pcm = load(multi)[1]
    assert pcm.shape == (9600, 2)
    assert np.array_equal(pcm[:8000, 0], one)
    assert not pcm[:4000, 1].any()
    assert np.array_equal(pcm[4000:8000, 1], two[4000:])
    assert np.array_equal(load(tmp_path / NAME)[1][:8000, 0], mix)
    assert names(tmp_path) == [NAME, "multi.wav"]


def test_when_nobody_joins_for_a_while_the_old_file_is_copied_away(tmp_path: Path) -> None:
    recorder, writer, channels = participants(tmp_path)
    tone = sine(500, 8000, 1.0)
    queue(recorder, tone, tone)
    writer.write_pending()
    queue(recorder, tone, tone, tone)
    writer.write_pending()
    assert len(names(tmp_path)) == 3
    for _ in range(10):
        queue(recorder, tone, tone, tone)
        writer.write_pending()
    assert len(names(tmp_path)) == 2
    writer.finish()
    channels.finish(tmp_path / "multi.wav")
    assert np.array_equal(load(tmp_path / "multi.wav")[1][:8000, 0], tone)


def test_a_channel_that_does_not_fit_is_left_out_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, writer, channels = participants(tmp_path)
    tone = sine(500, 8000, 0.5)
    queue(recorder, tone, tone)
    writer.write_pending()
    real_open = os.open

    def refuse(path: str, *args: int, **kwargs: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "open", refuse)
    queue(recorder, tone, tone, tone)
    writer.write_pending()
    monkeypatch.setattr(os, "open", real_open)
    queue(recorder, tone, tone, tone)
    writer.finish()
    assert channels.finish(tmp_path / "multi.wav")
    assert (channels.channels, channels.error) == (1, None)
    assert np.array_equal(load(tmp_path / "multi.wav")[1][:, 0], np.tile(tone, 3))


def test_the_end_of_the_participants_file_is_not_the_end_of_the_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vb.media.wav_file.MAX_DATA_BYTES", 60_000)
    recorder, writer, channels = participants(tmp_path)
    tone = sine(500, 8000, 1.0)
    queue(recorder, tone, tone, tone)
    writer.write_pending()
    queue(recorder, tone, tone, tone)
    writer.write_pending()
    assert writer.error is None
    assert "size limit" in (channels.error or "")
    assert writer.finish().duration_ms == 2000
    assert load(Path(channels.finish(tmp_path / "multi.wav")))[1].shape == (8000, 2)


def test_hours_of_a_gap_take_no_memory_and_little_disk_in_the_participants_file(tmp_path: Path) -> None:
    recorder, writer, channels = participants(tmp_path)
    tone = sine(500, 8000, 0.2)
    queue(recorder, tone, tone)
    channels.write([*recorder.queue, 50 * 3600])
    channels.finish(tmp_path / "multi.wav")
    assert channels.frames == 8000 * 3600 + 1600
    assert (tmp_path / "multi.wav").stat().st_blocks * 512 < 100_000
    writer.finish()
