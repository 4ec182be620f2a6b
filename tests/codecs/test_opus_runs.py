"""Many streams of Opus at once: the same samples and payloads as one by one."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vb.codecs.complexity import LEAN
from vb.codecs.opus import OpusDecoder, OpusEncoder
from vb.codecs.opus_runs import MOST_BYTES, DecodeRun, EncodeRun

RATE_HZ = 16_000
FRAME = RATE_HZ // 50
STREAMS = 5
DAMAGED = b"\x0b\xff\xff"


def frames(count: int = STREAMS, *, seed: int = 1) -> NDArray[np.int16]:
    """Return (streams, count, samples) of noise that swells."""
    noise = np.random.default_rng(seed).normal(size=(STREAMS, count, FRAME))
    return np.rint(noise * np.linspace(100, 6000, STREAMS)[:, None, None]).astype(np.int16)


def encoders() -> list[OpusEncoder]:
    return [OpusEncoder(RATE_HZ) for _ in range(STREAMS)]


def decoders() -> list[OpusDecoder]:
    return [OpusDecoder(RATE_HZ) for _ in range(STREAMS)]


def run_of(coders: list[OpusEncoder], told: NDArray[np.int16], room: NDArray[np.uint8]) -> EncodeRun:
    """Return a run from the rows of one array to those of another."""
    start, place = told.ctypes.data, room.ctypes.data
    return EncodeRun(
        coders,
        told.shape[1],
        [start + row * told.strides[0] for row in range(STREAMS)],
        [place + row * room.strides[0] for row in range(STREAMS)],
    )


@pytest.mark.parametrize("level", [LEAN, 0, 5])
def test_payloads_are_those_of_encoders_one_by_one(level: int) -> None:
    alone, together = encoders(), encoders()
    told, room = np.zeros((STREAMS, FRAME), np.int16), np.zeros((STREAMS, MOST_BYTES), np.uint8)
    run = run_of(together, told, room)
    for at, frame in enumerate(frames(20).swapaxes(0, 1)):
        told[:] = frame
        levels = [level] * STREAMS if at != 10 else [0] * STREAMS
        run.begin(levels)
        run.run(0, 3)
        run.run(3, STREAMS)
        for row in range(STREAMS):
            alone[row].set_complexity(levels[row])
            assert room[row, : run.sizes[row]].tobytes() == alone[row].encode(frame[row])


def test_frames_of_a_length_that_opus_does_not_have_are_told() -> None:
    told, room = np.zeros((STREAMS, 100), np.int16), np.zeros((STREAMS, MOST_BYTES), np.uint8)
    run = run_of(encoders(), told, room)
    run.begin([0] * STREAMS)
    run.run(0, STREAMS)
    assert all(size < 0 for size in run.sizes)
    assert str(run.error(2)) == "Opus encoding: invalid argument"


def test_an_encoder_that_refuses_its_level_fails_alone() -> None:
    told, room = np.zeros((STREAMS, FRAME), np.int16), np.zeros((STREAMS, MOST_BYTES), np.uint8)
    run = run_of(encoders(), told, room)
    run.begin([0, 0, 99, 0, 0])
    run.run(0, STREAMS)
    assert [size < 0 for size in run.sizes] == [False, False, True, False, False]
    assert "Opus setting" in str(run.error(2))
    run.begin([0] * STREAMS)
    run.run(0, STREAMS)
    assert all(size > 0 for size in run.sizes)


def test_samples_are_those_of_decoders_one_by_one() -> None:
    alone, together = decoders(), decoders()
    sources = encoders()
    for frame in frames(20).swapaxes(0, 1):
        payloads = [source.encode(part) for source, part in zip(sources, frame, strict=True)]
        pcm = np.full((STREAMS, FRAME), 7, np.int16)
        run = DecodeRun(together, payloads, pcm)
        run.run(2, STREAMS)
        run.run(0, 2)
        assert run.counts == [FRAME] * STREAMS
        for decoder, payload, row in zip(alone, payloads, pcm, strict=True):
            assert (decoder.decode(payload) == row).all()


def test_a_damaged_packet_leaves_its_place_and_its_neighbours_alone() -> None:
    alone, together = decoders(), decoders()
    payloads = [source.encode(part[0]) for source, part in zip(encoders(), frames(1), strict=True)]
    payloads[1] = DAMAGED
    pcm = np.full((STREAMS, FRAME), 7, np.int16)
    run = DecodeRun(together, payloads, pcm)
    run.run(0, STREAMS)
    assert [count < 0 for count in run.counts] == [False, True, False, False, False]
    assert (pcm[1] == 7).all()
    for row in (0, 2, 3, 4):
        assert (alone[row].decode(payloads[row]) == pcm[row]).all()
