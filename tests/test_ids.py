from __future__ import annotations

import uuid

from vb.ids import SystemIds


def test_a_uuid_is_of_version_4_and_its_variant() -> None:
    ids = SystemIds()
    for text in (ids.uuid() for _ in range(1000)):
        found = uuid.UUID(text)
        assert (found.version, found.variant, str(found)) == (4, uuid.RFC_4122, text)


def test_no_random_bytes_are_given_twice() -> None:
    ids = SystemIds()
    tokens = [ids.token(8) for _ in range(5000)] + [ids.uuid() for _ in range(5000)]
    assert len(set(tokens)) == len(tokens)
    assert len(ids.token(10_000)) == 20_000


def test_numbers_fill_their_range() -> None:
    ids = SystemIds()
    words, halves = [ids.u32() for _ in range(2000)], [ids.u16() for _ in range(2000)]
    assert all(0 <= number < 1 << 32 for number in words)
    assert max(words) > 0xF000_0000 > 0x1000_0000 > min(words)
    assert all(0 <= number < 1 << 16 for number in halves)
    assert max(halves) > 0xF000 > 0x1000 > min(halves)
