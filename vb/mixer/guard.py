"""Calls from the tick into other people's code: what fails there is reported, and the tick goes on."""

from __future__ import annotations

from collections.abc import Callable

from vb.mixer.frames import FrameSink, FrameSource, Pcm, samples_per_tick

OnFailure = Callable[[Exception], None]


def take_frame(source: FrameSource, rate_hz: int, on_failure: OnFailure) -> Pcm | None:
    """Ask a source for its next frame; a failure, or a frame of another length than 20 ms, gives None."""
    try:
        frame = source.take(rate_hz)
        if frame is not None and frame.shape != (samples_per_tick(rate_hz),):
            raise ValueError(f"a source gave {frame.shape} at {rate_hz} Hz")
    except Exception as error:  # the named boundary: one participant must not stop the tick
        on_failure(error)
        return None
    return frame


def push_frame(sink: FrameSink, frame: Pcm, rate_hz: int, on_failure: OnFailure) -> None:
    """Give a sink a frame."""
    try:
        sink.push(frame, rate_hz)
    except Exception as error:  # the named boundary: one participant must not stop the tick
        on_failure(error)
