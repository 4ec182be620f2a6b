"""The codec against the vectors of RFC 5769, and against bytes of every kind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.webrtc import stun
from vb.webrtc.stun import Attr, Kind, Method, StunError

TID = bytes.fromhex("b7e7a701bc34d686fa87dfae")
PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae"
    "802200105354554e207465737420636c69656e74"
    "002400046e0001ff"
    "80290008932ff9b151263b36"
    "000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004e57a3bcf"
)
RESPONSE_IPV4 = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004c07d4c96"
)
RESPONSE_IPV6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004c8fb0b4c"
)
LONG_TERM = bytes.fromhex(
    "000100602112a44278ad3433c6ad72c029da412e"
    "00060012e3839ee38388e383aae38383e382afe382b90000"
    "0015001c662f2f3439396b39353464364f4c33346f4c394653547679363473"
    "41"
    "0014000b6578616d706c652e6f726700"
    "00080014f67024656dd64a3e02b8e0712e85c9a28ca89666"
)


def test_the_sample_request_is_read_and_verified() -> None:
    message = stun.parse(REQUEST)
    assert (message.kind, message.method, message.transaction_id) == (Kind.REQUEST, Method.BINDING, TID)
    assert message.get(Attr.USERNAME) == b"evtj:h6vY"
    assert stun.read_uint32(message.get(Attr.PRIORITY)) == 0x6E0001FF
    assert message.get(Attr.ICE_CONTROLLED) == bytes.fromhex("932ff9b151263b36")
    assert message.verify(PASSWORD)
    assert not message.verify(b"another")


@pytest.mark.parametrize(
    ("data", "address"),
    [(RESPONSE_IPV4, "192.0.2.1"), (RESPONSE_IPV6, "2001:db8:1234:5678:11:2233:4455:6677")],
)
def test_the_sample_responses_carry_their_address(data: bytes, address: str) -> None:
    message = stun.parse(data)
    value = message.get(Attr.XOR_MAPPED_ADDRESS)
    assert value is not None
    assert stun.read_xor_address(value, TID) == (address, 32853)
    assert stun.xor_address((address, 32853), TID) == value
    assert message.kind is Kind.SUCCESS
    assert message.verify(PASSWORD)


def test_the_sample_with_long_term_credentials_is_verified() -> None:
    user = "\u30de\u30c8\u30ea\u30c3\u30af\u30b9"
    assert stun.parse(LONG_TERM).verify(stun.long_term_key(user, "example.org", "TheMatrIX"))


def test_an_ipv4_response_is_built_byte_for_byte_where_padding_is_zero() -> None:
    data = stun.build(
        Kind.SUCCESS,
        Method.BINDING,
        TID,
        [(Attr.XOR_MAPPED_ADDRESS, stun.xor_address(("192.0.2.1", 32853), TID))],
        key=PASSWORD,
    )
    assert data[20:32] == RESPONSE_IPV4[36:48]
    assert stun.parse(data).verify(PASSWORD)


def test_a_changed_bit_is_noticed() -> None:
    message = bytearray(REQUEST)
    message[30] ^= 1
    with pytest.raises(StunError, match="fingerprint"):
        stun.parse(bytes(message))
    no_fingerprint = bytearray(message[:-8])
    no_fingerprint[3] -= 8
    assert not stun.parse(bytes(no_fingerprint)).verify(PASSWORD)


def test_sha256_integrity_is_made_and_verified() -> None:
    data = stun.build(Kind.REQUEST, Method.ALLOCATE, TID, [(Attr.USERNAME, b"u")], key=b"key", sha256=True)
    message = stun.parse(data)
    assert message.verify(b"key")
    assert not message.verify(b"yek")


def test_with_both_integrities_the_stronger_one_counts() -> None:
    weak = stun.build(Kind.REQUEST, Method.BINDING, TID, key=b"key", with_fingerprint=False)
    forged = b"\x00\x1c\x00\x20" + bytes(32)
    both = weak[:2] + (len(weak) - 20 + len(forged)).to_bytes(2) + weak[4:] + forged
    assert not stun.parse(both).verify(b"key")


def test_attributes_after_the_integrity_are_left_out() -> None:
    signed = stun.build(Kind.REQUEST, Method.BINDING, TID, key=b"key", with_fingerprint=False)
    extra = b"\x00\x25\x00\x00"
    data = signed[:2] + (len(signed) - 20 + len(extra)).to_bytes(2) + signed[4:] + extra
    message = stun.parse(data)
    assert message.verify(b"key")
    assert message.get(Attr.USE_CANDIDATE) is None


def test_required_attributes_that_are_unknown_are_listed_once() -> None:
    data = stun.build(
        Kind.REQUEST,
        Method.BINDING,
        TID,
        [(0x7001, b""), (0x7001, b""), (0x9001, b""), (Attr.USERNAME, b"a")],
    )
    assert stun.parse(data).unknown_required({Attr.USERNAME}) == (0x7001,)
    assert stun.unknown_attributes((0x7001, 0x0003)) == b"\x70\x01\x00\x03"


def test_an_error_code_is_made_and_read() -> None:
    assert stun.read_error_code(stun.error_code(487, "Role Conflict")) == 487
    assert (
        stun.read_error_code(None) == stun.read_error_code(b"\0\0\x01\0") == stun.read_error_code(b"\0") == 0
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        REQUEST[:-1],
        REQUEST + bytes(4),
        b"\x40" + REQUEST[1:],
        REQUEST[:4] + bytes(4) + REQUEST[8:],
        stun.build(Kind.REQUEST, Method.BINDING, TID, [(0x9000, b"")] * 60),
        stun.build(Kind.REQUEST, Method.BINDING, TID, [(Attr.MESSAGE_INTEGRITY, bytes(8))]),
        stun.build(Kind.REQUEST, Method.BINDING, TID, [(Attr.MESSAGE_INTEGRITY_SHA256, bytes(12))]),
        stun.build(Kind.REQUEST, Method.BINDING, TID, [(Attr.SOFTWARE, bytes(2100))]),
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(StunError):
        stun.parse(data)


@given(st.binary(max_size=200), st.booleans(), st.integers(0, 200), st.integers(0, 255))
def test_any_bytes_give_a_message_or_the_one_error(data: bytes, framed: bool, at: int, value: int) -> None:
    if framed:
        padded = data + bytes(-len(data) & 3)
        data = b"\x00\x01" + len(padded).to_bytes(2) + REQUEST[4:20] + padded
    else:
        changed = bytearray(REQUEST)
        changed[at % len(changed)] = value
        data = bytes(changed)
    try:
        message = stun.parse(data)
    except StunError:
        return
    message.verify(PASSWORD)
    message.unknown_required(())
    for _, found in message.attributes:
        stun.read_error_code(found)
        try:
            stun.read_xor_address(found, message.transaction_id)
        except StunError:
            pass


@given(
    st.sampled_from(Kind),
    st.integers(0, 0xFF),
    st.binary(min_size=12, max_size=12),
    st.lists(st.tuples(st.integers(0x8030, 0xFFFF), st.binary(max_size=40)), max_size=10),
    st.none() | st.binary(max_size=20),
    st.booleans(),
)
def test_what_is_built_is_read_back(
    kind: Kind, method: int, tid: bytes, attributes: list[tuple[int, bytes]], key: bytes | None, sha256: bool
) -> None:
    message = stun.parse(stun.build(kind, method, tid, attributes, key=key, sha256=sha256))
    assert (message.kind, message.method, message.transaction_id) == (kind, method, tid)
    assert message.attributes == tuple(attributes)
    assert message.is_signed == (key is not None)
    assert key is None or message.verify(key)
