"""The task that writes a recording: batches to disk, and a durable end however it comes."""

from typing import Final

import trio

from vb.blocking import Bell, Blocking
from vb.media.errors import RecordingError
from vb.recording.recorder import Recorded, Recorder
from vb.recording.recording_writer import RecordingWriter

FINISH_TIMEOUT_S: Final = 5.0


async def run_recorder(
    recorder: Recorder,
    writer: RecordingWriter,
    *,
    blocking: Blocking,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> Recorded:
    """Write a recording until `Recorder.stop`, an error or cancellation.

    Args:
        recorder: its sinks are fed by the plane.
        writer: its file.
        blocking: runs the file operations; it should abandon them on cancellation, so that a disk
            that hangs cannot hold up the end of a call.
        task_status: started once the temporary file exists.

    Returns:
        The outcome, also left in ``recorder.result``. It returns by itself when the recording
        cannot go on; the call is none the worse for it.

    Cancellation: the file is completed first, for at most `FINISH_TIMEOUT_S`.

    Raises:
        RecordingError: the file cannot be created; nothing is left behind.
    """
    bell = Bell()
    recorder.on_ready = bell.ring
    try:
        try:
            await blocking(writer.open)
        except OSError as failure:
            raise RecordingError(f"cannot create the recording: {failure.strerror or failure}") from None
        task_status.started()
        while not recorder.ended:
            await bell.wait()
            await blocking(writer.write_pending)
            if writer.error is not None:
                recorder.fail(writer.error)
    finally:
        recorder.stop()
        recorder.result = Recorded("", error="cannot write the recording: the disk does not answer")
        with trio.move_on_after(FINISH_TIMEOUT_S, shield=True):
            recorder.result = await blocking(writer.finish)
    return recorder.result
