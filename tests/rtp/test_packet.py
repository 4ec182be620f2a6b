import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.rtp.packet import HeaderExtension, PacketKind, RtpPacket, build_header, classify, parse_rtp

u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFF_FFFF)
extensions = st.builds(
    HeaderExtension, u16, st.binary(max_size=40).map(lambda data: data + bytes(-len(data) % 4))
)
packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    sequence=u16,
    timestamp=u32,
    ssrc=u32,
    payload=st.binary(max_size=200),
    marker=st.booleans(),
    csrcs=st.lists(u32, max_size=15).map(tuple),
    extension=st.none() | extensions,
)

PLAIN = bytes.fromhex("80 88 1234 01020304 0a0b0c0d ffee")


def test_header_fields_are_read_from_their_places() -> None:
    assert parse_rtp(PLAIN) == RtpPacket(8, 0x1234, 0x01020304, 0x0A0B0C0D, b"\xff\xee", marker=True)


def test_built_header_is_the_one_parsed() -> None:
    assert build_header(8, 0x1234, 0x01020304, 0x0A0B0C0D, marker=True) == PLAIN[:12]
    assert build_header(8, 0x1234, 0x01020304, 0x0A0B0C0D)[1] == 8


@given(packets)
def test_any_packet_survives_writing_and_reading(packet: RtpPacket) -> None:
    assert parse_rtp(packet.to_bytes()) == packet


@given(packets, st.integers(1, 255))
def test_padding_is_not_payload(packet: RtpPacket, padding: int) -> None:
    data = packet.to_bytes()
    padded = bytes((data[0] | 0x20,)) + data[1:] + bytes(padding - 1) + bytes((padding,))
    assert parse_rtp(padded) == packet


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused_without_an_error(data: bytes) -> None:
    packet = parse_rtp(data)
    assert packet is None or len(packet.payload) <= len(data) - 12


@given(packets, st.data())
def test_cut_packet_is_refused_or_has_a_shorter_payload(packet: RtpPacket, data: st.DataObject) -> None:
    whole = packet.to_bytes()
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    parsed = parse_rtp(cut)
    assert parsed is None or packet.payload.startswith(parsed.payload)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\x80",
        PLAIN[:11],
        b"\x40" + PLAIN[1:],
        b"\x8f" + PLAIN[1:],
        b"\x90" + PLAIN[1:],
        b"\x90" + PLAIN[1:12] + bytes.fromhex("bede 0002 00000000"),
        b"\xa0" + PLAIN[1:12] + b"\x00",
        b"\xa0" + PLAIN[1:12] + b"\x02",
        b"\xa0" + PLAIN[1:12],
    ],
    ids=[
        "empty",
        "one byte",
        "short header",
        "version 1",
        "contributors missing",
        "extension missing",
        "extension too long",
        "padding of zero",
        "padding beyond the payload",
        "padding in the header",
    ],
)
def test_length_that_does_not_add_up_is_refused(damaged: bytes) -> None:
    assert parse_rtp(damaged) is None


def test_packet_without_payload_is_valid() -> None:
    packet = parse_rtp(PLAIN[:12])
    assert packet is not None
    assert packet.payload == b""


@pytest.mark.parametrize(
    ("datagram", "kind"),
    [
        (b"", PacketKind.UNKNOWN),
        (b"\x00\x01", PacketKind.STUN),
        (b"\x03", PacketKind.STUN),
        (b"\x04", PacketKind.UNKNOWN),
        (b"\x16\xfe\xfd", PacketKind.DTLS),
        (b"\x40\x00", PacketKind.UNKNOWN),
        (b"\x80", PacketKind.RTP),
        (b"\x80\x00", PacketKind.RTP),
        (b"\xbf\x7f", PacketKind.RTP),
        (b"\x80\xbf", PacketKind.RTP),
        (b"\x80\xc0", PacketKind.RTCP),
        (b"\x81\xc8", PacketKind.RTCP),
        (b"\x80\xdf", PacketKind.RTCP),
        (b"\x80\xe0", PacketKind.RTP),
        (b"\xc0\x00", PacketKind.UNKNOWN),
        (b"\r\n\r\n", PacketKind.UNKNOWN),
    ],
)
def test_first_bytes_tell_the_protocol(datagram: bytes, kind: PacketKind) -> None:
    assert classify(datagram) is kind
