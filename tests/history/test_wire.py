from __future__ import annotations

import random
import uuid
from enum import StrEnum

import pytest

from tests.history.making import change
from vb.children.framing import Garbage, Splitter, fields_of
from vb.history.change import Change
from vb.history.keeper import Kept, Status
from vb.history.wire import (
    CALLS_AT_ONCE,
    CHUNK_BYTES,
    MAX_BODY_BYTES,
    Kind,
    Start,
    pack_changes,
    pack_kept,
    unpack_changes,
    unpack_kept,
    unpack_status,
)
from vb.history.writer import Recorded


def sent(*changes: Change) -> tuple[list[list[Change]], list[Change]]:
    """What arrives of changes, message by message, and those that do not."""
    damaged: list[Change] = []
    messages = Splitter(Kind, MAX_BODY_BYTES)
    found = [found for data in pack_changes(changes, damaged.append) for found in messages.feed(data)]
    assert all(kind is Kind.CHANGES or kind == Kind.CHANGES for kind, _, _ in found)
    return [unpack_changes(body) for _, _, body in found], damaged


def test_changes_arrive_as_they_were() -> None:
    given = [
        change(1),
        change(2, duration_us=None, agent_id="\ud800"),
        change(3, parts=((1, b"{}"), (7, b""))),
    ]
    found, damaged = sent(*given)
    assert (found, damaged) == ([given], [])


def test_many_changes_are_several_messages() -> None:
    given = [change(number) for number in range(100)]
    long = [change(number, parts=((1, b"x" * CHUNK_BYTES),)) for number in range(3)]
    found, _ = sent(*given, *long)
    assert [len(part) for part in found] == [32, 32, 32, 5, 1, 1]
    assert [each for part in found for each in part] == [*given, *long]


class Colour(StrEnum):
    RED = "red"


def test_what_is_no_plain_data_becomes_such_or_is_left_out_alone() -> None:
    found, damaged = sent(change(1), change(2, colour=Colour.RED), change(3, strange=object()))
    assert [each.call_id for part in found for each in part] == [change(1).call_id, change(2).call_id]
    assert found[1][0].document["colour"] == "red"
    assert [each.call_id for each in damaged] == [change(3).call_id]


def test_what_a_round_has_done_arrives_in_bearable_pieces() -> None:
    calls = [Recorded(uuid.UUID(int=number), f"leg {number}", None) for number in range(CALLS_AT_ONCE + 1)]
    closed = [Recorded(uuid.UUID(int=1), "leg", "shop")]
    status = Status({"queue": "full"}, written=5, is_open=True, seen_us=7)
    messages = Splitter(Kind, MAX_BODY_BYTES)
    given = Kept([change(1)], calls, closed, ["s3://bucket/a.wav"], unknown=True)
    found = [found for data in pack_kept(given, 9, status) for found in messages.feed(data)]
    assert [kind for kind, _, _ in found] == [Kind.KEPT] * 4 + [Kind.DONE]
    assert {number for _, number, _ in found} == {9}
    kept = [unpack_kept(body) for _, _, body in found]
    assert [call for each in kept for call in each.recorded] == calls
    assert [call for each in kept for call in each.closed] == closed
    assert [file for each in kept for file in each.left] == ["s3://bucket/a.wav"]
    assert kept[-1].unknown
    last = fields_of(found[-1][2])
    assert (last["refused"], unpack_status(last)) == (True, status)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"recorded":[1]}',
        b'{"recorded":[["x","y",null]]}',
        b'{"left":7}',
        b'{"closed":[[]]}',
    ],
)
def test_what_is_malformed_is_garbage_and_nothing_else(body: bytes) -> None:
    with pytest.raises(Garbage):
        unpack_kept(body)
    with pytest.raises(Garbage):
        unpack_status(fields_of(body))
    with pytest.raises(Garbage):
        Start.decode(body)


def test_any_bytes_are_changes_or_garbage() -> None:
    draw = random.Random(7)
    (good,) = pack_changes([change(1)], lambda _: None)
    for _ in range(300):
        body = bytearray(good[9:])
        del body[draw.randrange(len(body)) :]
        with pytest.raises(Garbage):
            unpack_changes(bytes(body))
