"""RFC 2198: blocks in, blocks out, and anything at all in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.rtp.red import MAX_AGE, MAX_REPEATED_BYTES, RedBlock, build_red, parse_red

TYPES = st.integers(0, 127)
REPEATED = st.builds(RedBlock, TYPES, st.binary(max_size=MAX_REPEATED_BYTES), st.integers(0, MAX_AGE))


@given(st.lists(REPEATED, max_size=4), st.builds(RedBlock, TYPES, st.binary(max_size=1500)))
def test_what_is_built_is_read_back(repeated: list[RedBlock], new: RedBlock) -> None:
    assert parse_red(build_red(repeated, new)) == (*repeated, new)


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    blocks = parse_red(payload)
    if blocks is not None:
        assert build_red(blocks[:-1], blocks[-1]) == payload


def test_the_bytes_are_those_of_the_rfc() -> None:
    repeated = [RedBlock(99, b"hi ", 600), RedBlock(99, b"")]
    assert build_red(repeated, RedBlock(99, b"there")).hex() == "e3096003e300000063686920" + b"there".hex()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xe3",
        b"\xe3\x00\x00",
        b"\xe3\x00\x00\x00",
        b"\xe3\x00\x00\x05\x63abcd",
        b"\xe3\x00\x00\x02\xe3\x00\x00\x02\x63abc",
    ],
)
def test_a_payload_without_end_or_data_is_refused(payload: bytes) -> None:
    assert parse_red(payload) is None


@pytest.mark.parametrize(
    "block",
    [
        RedBlock(99, b"", MAX_AGE + 1),
        RedBlock(99, b"", -1),
        RedBlock(99, bytes(MAX_REPEATED_BYTES + 1)),
        RedBlock(128, b""),
    ],
)
def test_a_block_that_does_not_fit_its_header_is_not_built(block: RedBlock) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        build_red([block], RedBlock(99, b""))
