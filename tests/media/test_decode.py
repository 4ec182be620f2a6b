import io

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame

from tests.media.support import peaks_hz, sine, wav_bytes
from vb.codecs.pcm import Pcm
from vb.media.conversion import storage_rate_hz
from vb.media.decode import AudioFormat, AudioKind, AudioStream, choose_format
from vb.media.errors import DecodeError

WAV = AudioFormat(AudioKind.WAV)
MP3 = AudioFormat(AudioKind.MP3)


def mp3_bytes(pcm: Pcm, rate_hz: int) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp3", options={"write_xing": "0", "id3v2_version": "0"}) as container:
        stream = container.add_stream("libmp3lame", rate=rate_hz, layout="mono", format="s16p")
        frame = AudioFrame.from_ndarray(pcm[None, :], format="s16", layout="mono")
        frame.sample_rate = rate_hz
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()


def decode(data: bytes, audio_format: AudioFormat, **limits: float) -> tuple[int, Pcm]:
    stream = AudioStream(audio_format, **limits)
    pieces = pieces_of(stream, data)
    return stream.rate_hz or 0, np.concatenate(pieces) if pieces else np.zeros(0, np.int16)


def pieces_of(stream: AudioStream, data: bytes) -> list[Pcm]:
    """Give a stream what it asks for, as a player does."""
    pieces: list[Pcm] = []
    at = 0
    while not stream.ended:
        portion = data[at : at + stream.wanted_bytes]
        at += len(portion)
        stream.feed(portion)
        if at == len(data):
            stream.finish()
        while (piece := stream.take()).size:
            pieces.append(piece)
    return pieces


@pytest.mark.parametrize(
    ("mime_type", "path", "head", "kind"),
    [
        ("audio/wav", "/x.mp3", b"ID3", AudioKind.WAV),
        ("audio/x-wav", "/x", b"", AudioKind.WAV),
        ("Audio/WAVE; codecs=1", "/x", b"", AudioKind.WAV),
        ("audio/mpeg", "/x.wav", b"RIFF", AudioKind.MP3),
        ("audio/mp3", "/x", b"", AudioKind.MP3),
        (None, "/x.MP3", b"RIFF", AudioKind.MP3),
        (None, "/dir.mp3/x.wav", b"ID3", AudioKind.WAV),
        ("", "/x", b"ID3\4\0", AudioKind.MP3),
        ("application/octet-stream", "/x", b"\xff\xfb\x90\x00", AudioKind.MP3),
        (None, "/x", b"\xff\xf3\x40\x00", AudioKind.MP3),
        (None, "/x", b"RIFF", AudioKind.WAV),
        (None, "/x", b"\xff\xff\xff\xff", AudioKind.WAV),
        (None, "/x", b"", AudioKind.WAV),
    ],
)
def test_format_is_chosen_by_type_then_extension_then_bytes(
    mime_type: str | None, path: str, head: bytes, kind: AudioKind
) -> None:
    assert choose_format(mime_type, path, head).kind is kind


@pytest.mark.parametrize("mime_type", ["audio/pcm;rate=24000", 'audio/L16; channels=1; rate="24000"'])
def test_raw_audio_takes_its_rate_from_the_type(mime_type: str) -> None:
    assert choose_format(mime_type, "/x.wav", b"RIFF") == AudioFormat(AudioKind.RAW, 24000)


@pytest.mark.parametrize(
    "mime_type", ["audio/ogg", "text/html", "audio/pcm", "audio/l16;rate=", "audio/pcm;rate=10"]
)
def test_an_unusable_type_is_refused(mime_type: str) -> None:
    with pytest.raises(DecodeError, match="unsupported"):
        choose_format(mime_type, "/x.wav", b"RIFF")


@pytest.mark.parametrize(
    ("source_hz", "storage_hz"),
    [(8000, 8000), (11025, 16000), (16000, 16000), (22050, 48000), (44100, 48000), (192000, 48000)],
)
def test_the_storage_rate_is_the_next_one_above(source_hz: int, storage_hz: int) -> None:
    assert storage_rate_hz(source_hz) == storage_hz


@pytest.mark.parametrize("source_hz", [8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 192000])
def test_any_rate_keeps_pitch_level_and_exact_length(source_hz: int) -> None:
    rate_hz, pcm = decode(wav_bytes(sine(1000, source_hz, 1.4).tobytes(), rate_hz=source_hz), WAV)
    assert rate_hz == storage_rate_hz(source_hz)
    assert pcm.size == round(1.4 * rate_hz)
    second = pcm[rate_hz // 5 : rate_hz // 5 + rate_hz]
    assert peaks_hz(second, rate_hz, above=100) == {1000}
    assert np.sqrt(np.mean(second.astype(float) ** 2)) == pytest.approx(10_000 / 2**0.5, rel=0.02)


def test_pieces_are_half_a_second() -> None:
    data = wav_bytes(sine(500, 44100, 1.2).tobytes(), rate_hz=44100)
    assert [piece.size for piece in pieces_of(AudioStream(WAV), data)] == [24000, 24000, 9600]


def test_raw_audio_is_decoded() -> None:
    pcm = sine(700, 16000, 1.0)
    rate_hz, decoded = decode(pcm.tobytes(), AudioFormat(AudioKind.RAW, 16000))
    assert rate_hz == 16000
    assert np.array_equal(decoded, pcm)


@pytest.mark.parametrize("source_hz", [8000, 22050, 44100, 48000])
def test_mp3_keeps_pitch_and_level(source_hz: int) -> None:
    rate_hz, pcm = decode(mp3_bytes(sine(1000, source_hz, 2.0), source_hz), MP3)
    assert rate_hz == storage_rate_hz(source_hz)
    assert pcm.size == pytest.approx(2.0 * rate_hz, rel=0.12)
    second = pcm[rate_hz // 2 : rate_hz // 2 + rate_hz]
    assert peaks_hz(second, rate_hz, above=500) == {1000}
    assert np.sqrt(np.mean(second.astype(float) ** 2)) == pytest.approx(10_000 / 2**0.5, rel=0.1)


def test_mp3_after_a_tag_with_a_picture_is_decoded() -> None:
    size = 300_000
    tag = b"ID3\x04\0\0" + bytes([size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127])
    data = tag + b"\xff\xfb" * (size // 2) + mp3_bytes(sine(1000, 44100, 1.0), 44100)
    _, pcm = decode(data, MP3)
    assert pcm.size > 40_000


def test_truncated_mp3_gives_what_there_is() -> None:
    data = mp3_bytes(sine(1000, 44100, 2.0), 44100)
    _, pcm = decode(data[: len(data) // 2 + 7], MP3)
    assert 0.7 * 48000 < pcm.size < 1.3 * 48000


def test_mp3_with_damage_in_the_middle_goes_on() -> None:
    data = bytearray(mp3_bytes(sine(1000, 44100, 2.0), 44100))
    data[4000:6000] = bytes(2000)
    _, pcm = decode(bytes(data), MP3)
    assert pcm.size > 1.4 * 48000


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 5000, b"<html>" * 1000, bytes(range(256)) * 40, b"ID3\4\0\0\x7f\x7f\x7f\x7f"]
)
def test_what_is_not_mp3_holds_no_audio(data: bytes) -> None:
    try:
        _, pcm = decode(data, MP3)
    except DecodeError:
        return
    assert pcm.size == 0


def test_endless_audio_is_cut_with_an_error() -> None:
    with pytest.raises(DecodeError, match="too long"):
        decode(mp3_bytes(np.zeros(44100 * 4, np.int16), 44100), MP3, max_decoded_s=2.0)


@pytest.mark.parametrize("kind", [WAV, MP3, AudioFormat(AudioKind.RAW, 16000)])
def test_what_is_asked_for_gives_a_piece_and_not_much_more(kind: AudioFormat) -> None:
    pcm = sine(500, 16000, 20.0)
    data = {
        AudioKind.WAV: wav_bytes(pcm.tobytes(), rate_hz=16000),
        AudioKind.MP3: mp3_bytes(pcm, 16000),
        AudioKind.RAW: pcm.tobytes(),
    }[kind.kind]
    stream, fed, portions = AudioStream(kind), 0, 0
    for seconds in range(1, 18):
        taken = 0
        while taken < 16000:
            wanted = stream.wanted_bytes
            stream.feed(data[fed : fed + wanted])
            fed += wanted
            portions += 1
            while (piece := stream.take()).size:
                taken += piece.size
        assert taken == 16000
        assert fed < (seconds + 1) * len(data) / 20 + 1200
    assert portions < 17 * 3


def test_a_stream_without_end_is_decoded_before_it_ends() -> None:
    stream = AudioStream(MP3)
    stream.feed(mp3_bytes(sine(1000, 44100, 1.7), 44100))
    assert not stream.ended
    assert [stream.take().size for _ in range(4)] == [24000, 24000, 24000, 0]


def test_a_wav_with_a_size_is_complete_before_the_body_is() -> None:
    stream = AudioStream(WAV)
    stream.feed(wav_bytes(sine(500, 8000, 0.7).tobytes()) + bytes(500))
    assert (stream.ended, stream.complete) == (True, True)
    assert [stream.take().size for _ in range(3)] == [4000, 1600, 0]


def test_a_body_that_just_ends_is_not_complete() -> None:
    stream = AudioStream(WAV)
    stream.feed(wav_bytes(sine(500, 8000, 0.7).tobytes())[:-100])
    stream.finish()
    assert (stream.ended, stream.complete) == (True, False)
