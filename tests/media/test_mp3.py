import io

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream

from tests.media.support import peaks_hz, sine
from vb.codecs.pcm import Pcm
from vb.media.errors import DecodeError
from vb.media.mp3 import Mp3Decoder


def encoded(pcm: Pcm, rate_hz: int, *, codec: str = "libmp3lame", variable: bool = False) -> bytes:
    """A file as an encoder writes it, with its tag and the frame that describes it."""
    file = io.BytesIO()
    kind = "mp2" if codec == "mp2" else "mp3"
    sample_format = "s16" if codec == "mp2" else "s16p"
    options = {"flags": "qscale", "global_quality": "472"} if variable else {}
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(
            codec, rate=rate_hz, layout="mono", format=sample_format, options=options
        )
        assert isinstance(stream, AudioStream)
        frame = AudioFrame.from_ndarray(pcm[None, :], format=sample_format, layout="mono")
        frame.sample_rate = rate_hz
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()


def decode(data: bytes, portion: int = 5000) -> Pcm:
    decoder = Mp3Decoder()
    pieces = []
    for start in range(0, len(data), portion):
        pieces += decoder.feed(data[start : start + portion])
    return np.concatenate([*pieces, *decoder.finish()])


@pytest.mark.parametrize("variable", [False, True])
def test_the_audio_begins_where_it_began_before_it_was_encoded(variable: bool) -> None:
    original = np.concatenate((np.zeros(4800, np.int16), sine(1000, 48_000, 1.0)))
    pcm = decode(encoded(original, 48_000, variable=variable))
    loud = np.flatnonzero(np.abs(pcm.astype(int)) > 3000)
    assert loud[0] == pytest.approx(4800, abs=40)
    assert pcm.size == pytest.approx(original.size, abs=2 * 1152)


@pytest.mark.parametrize("portion", [1, 100, 10_000])
def test_any_portions_give_the_same_audio(portion: int) -> None:
    data = encoded(sine(700, 22_050, 0.5), 22_050)
    assert np.array_equal(decode(data, portion), decode(data, len(data)))


def test_layer_two_is_decoded_as_well() -> None:
    pcm = decode(encoded(sine(1000, 48_000, 1.5), 48_000, codec="mp2"))
    assert peaks_hz(pcm[10_000:58_000], 48_000, above=500) == {1000}


def test_recordings_glued_together_keep_the_rate_of_the_first() -> None:
    data = encoded(sine(1000, 48_000, 1.5), 48_000) + encoded(sine(2000, 22_050, 1.5), 22_050)
    pcm = decode(data)
    assert peaks_hz(pcm[5_000:53_000], 48_000, above=500) == {1000}
    assert peaks_hz(pcm[85_000:133_000], 48_000, above=500) == {2000}


def test_a_hundred_damaged_frames_are_left_out_and_no_more() -> None:
    frame = bytes.fromhex("fffb50c4") + b"\xff" * 204
    sound = encoded(sine(500, 44_100, 1.0), 44_100)
    assert decode(sound + frame * 80).size > 40_000
    with pytest.raises(DecodeError, match="damaged MP3"):
        decode(sound + frame * 200)


def test_a_damaged_file_sounds_the_same_every_time() -> None:
    rng = np.random.default_rng(7)
    header = bytes.fromhex("fffd14c0")  # Layer II at 32 kbit/s; noise asks for more bits than a frame has
    damaged = b"".join(header + rng.bytes(92) for _ in range(40))
    heard = set()
    for number in range(20):
        behind = [bytes([number * 11]) * length for length in range(33, 1500)]  # what the heap holds
        del behind
        heard.add(decode(damaged).tobytes())
    assert len(heard) == 1
