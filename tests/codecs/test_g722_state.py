from __future__ import annotations

import numpy as np
import pytest

from vb.codecs import g722_state
from vb.codecs.base import G722, CopyableEncoder, make_encoder
from vb.codecs.g722 import CopyableG722Encoder, G722Encoder, make_g722_encoder
from vb.codecs.pcm import Pcm


def noise(seed: int, frames: int = 10) -> list[Pcm]:
    drawn = np.random.default_rng(seed).normal(0, 5000, (frames, 320)).astype(np.int16)
    return list(drawn)


def test_encoders_can_be_copied_with_the_package_that_is_installed() -> None:
    assert g722_state.can_copy()
    assert isinstance(make_encoder(G722), CopyableEncoder)


def test_a_copy_goes_on_where_the_other_stands_and_then_by_itself() -> None:
    one, other = CopyableG722Encoder(), CopyableG722Encoder()
    for frame in noise(1):
        one.encode(frame)
    for frame in noise(2):
        other.encode(frame)
    other.copy_from(one)
    assert [one.encode(frame) for frame in noise(3)] == [other.encode(frame) for frame in noise(3)]
    assert one.encode(noise(4)[0]) != other.encode(noise(5)[0])
    expected = [one.encode(frame) for frame in noise(6)]
    other.copy_from(CopyableG722Encoder())
    fresh = CopyableG722Encoder()
    assert [other.encode(frame) for frame in noise(6)] == [fresh.encode(frame) for frame in noise(6)]
    assert expected != [G722Encoder().encode(frame) for frame in noise(6)]


def test_an_object_of_another_layout_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    coder = g722_state.new_coder()
    monkeypatch.setattr(g722_state, "_RATES", (16000, 56000))
    monkeypatch.setattr(g722_state, "new_coder", lambda: coder)
    assert not g722_state.can_copy.__wrapped__()


def test_without_a_way_to_measure_a_block_nothing_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(g722_state, "_usable_size", lambda: None)
    assert not g722_state.can_copy.__wrapped__()


def test_where_nothing_can_be_copied_encoders_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vb.codecs.g722.can_copy", lambda: False)
    assert not isinstance(make_g722_encoder(), CopyableEncoder)
