import fcntl
import os
import stat
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from vb.recording.recorder import Recorder
from vb.recording.recording_writer import RecordingWriter
from vb.recording.salvage import salvage

LATER_S = 4e9
"""A start of the process that every file precedes."""


def leave_behind(directory: Path, token: str = "0a1b2c3d", slots: int = 100, channels: int = 2) -> Path:
    """Write half a recording in another process that dies without a word."""
    script = f"""
import os
import numpy as np
from pathlib import Path
from vb.recording.recorder import Recorder
from vb.recording.recording_writer import RecordingWriter
recorder = Recorder(channels={channels}, clock=lambda: 0.0, rate_hz=8000)
writer = RecordingWriter(Path({str(directory)!r}) / "x.wav", token={token!r}, recorder=recorder)
writer.open()
recorder.queue.extend([tuple((np.full(160, 7, np.int16), 8000) for _ in range({channels}))] * {slots})
writer.write_pending()
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
    return directory / f".rec-{token}.tmp"


def test_a_killed_recording_becomes_a_file_with_all_that_was_written(tmp_path: Path) -> None:
    leave_behind(tmp_path)
    (found,) = salvage(tmp_path, before_s=LATER_S)
    (name,) = os.listdir(tmp_path)
    assert found.file == str(tmp_path / name)
    assert name.startswith("recovered_")
    assert name.endswith("_0a1b2c3d.wav")
    with wave.open(found.file) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, 8000, 16_000)
        assert set(np.frombuffer(file.readframes(16_000), "<i2").tolist()) == {7}
    assert stat.S_IMODE(os.stat(found.file).st_mode) == 0o644


def test_who_narrows_the_permissions_of_the_process_has_completed_recordings_of_his_own(
    tmp_path: Path,
) -> None:
    leave_behind(tmp_path)
    before = os.umask(0o077)
    try:
        (found,) = salvage(tmp_path, before_s=LATER_S)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(found.file).st_mode) == 0o600


def test_half_a_frame_at_the_end_is_cut_off(tmp_path: Path) -> None:
    temporary = leave_behind(tmp_path)
    with open(temporary, "ab") as file:
        file.write(b"\1\2\3")
    (found,) = salvage(tmp_path, before_s=LATER_S)
    with wave.open(found.file) as file:
        assert file.getnframes() == 16_000


def test_a_recording_without_audio_is_removed(tmp_path: Path) -> None:
    leave_behind(tmp_path, slots=0)
    (found,) = salvage(tmp_path, before_s=LATER_S)
    assert (found.file, found.error) == ("", None)
    assert os.listdir(tmp_path) == []


def test_a_file_that_somebody_still_writes_is_left_alone(tmp_path: Path) -> None:
    recorder = Recorder(channels=1, clock=lambda: 0.0, rate_hz=8000)
    writer = RecordingWriter(tmp_path / "x.wav", token="0a1b2c3d", recorder=recorder)
    writer.open()
    recorder.queue.append(((np.full(160, 7, np.int16), 8000),))
    writer.write_pending()
    assert salvage(tmp_path, before_s=LATER_S) == []
    assert writer.finish().file == str(tmp_path / "x.wav")


def test_a_file_younger_than_the_process_is_left_alone(tmp_path: Path) -> None:
    temporary = leave_behind(tmp_path)
    assert salvage(tmp_path, before_s=temporary.stat().st_mtime) == []
    assert temporary.exists()


def test_a_file_of_another_kind_is_reported_and_kept(tmp_path: Path) -> None:
    (tmp_path / ".rec-x.tmp").write_bytes(b"x" * 1000)
    (found,) = salvage(tmp_path, before_s=LATER_S)
    assert found.error == "not a recording of this server"
    assert (tmp_path / ".rec-x.tmp").read_bytes() == b"x" * 1000


@pytest.mark.parametrize("name", ["call.wav", ".rec-x", "rec-x.tmp"])
def test_other_names_are_not_looked_at(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x" * 1000)
    assert salvage(tmp_path, before_s=LATER_S) == []


def test_links_pipes_and_folders_are_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"x" * 1000)
    (tmp_path / ".rec-link.tmp").symlink_to(target)
    os.mkfifo(tmp_path / ".rec-pipe.tmp")
    (tmp_path / ".rec-folder.tmp").mkdir()
    assert salvage(tmp_path, before_s=LATER_S) == []
    assert target.read_bytes() == b"x" * 1000


def test_a_taken_name_keeps_the_temporary_file(tmp_path: Path) -> None:
    temporary = leave_behind(tmp_path)
    os.utime(temporary, (1e9, 1e9))
    (found,) = salvage(tmp_path, before_s=LATER_S)
    other = leave_behind(tmp_path)
    os.utime(other, (1e9, 1e9))
    (again,) = salvage(tmp_path, before_s=LATER_S)
    assert again.error is not None
    assert other.exists()
    assert Path(found.file).exists()


def test_a_missing_directory_has_nothing_to_salvage(tmp_path: Path) -> None:
    assert salvage(tmp_path / "absent", before_s=LATER_S) == []


def test_two_processes_do_not_salvage_the_same_file(tmp_path: Path) -> None:
    temporary = leave_behind(tmp_path)
    with open(temporary, "rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert salvage(tmp_path, before_s=LATER_S) == []
    assert len(salvage(tmp_path, before_s=LATER_S)) == 1
