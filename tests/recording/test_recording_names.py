from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.media.recording_names import (
    chosen_name,
    drawn_token,
    multi_channel_name,
    recording_name,
    recovered_name,
    recovered_token,
)

MOMENT = datetime(2026, 3, 4, 5, 6, 7)


def test_the_name_is_the_local_time_of_the_start_and_a_token() -> None:
    assert recording_name(MOMENT, "0a1b2c3d") == "20260304_050607_0a1b2c3d.wav"


def test_the_file_of_the_participants_says_what_it_is() -> None:
    assert multi_channel_name(MOMENT, "0a1b2c3d") == "20260304_050607_multichannel_0a1b2c3d.wav"


def test_a_recovered_file_says_so() -> None:
    assert recovered_name(MOMENT, "0a1b2c3d") == "recovered_20260304_050607_0a1b2c3d.wav"


@pytest.mark.parametrize(
    ("chosen", "file"),
    [
        ("call", "call.wav"),
        ("a", "a.wav"),
        ("call.2026-03-04", "call.2026-03-04.wav"),
        ("call_1.wav", "call_1.wav"),
        ("call.mp3", "call.mp3.wav"),
        ("x" * 124, "x" * 124 + ".wav"),
        ("x" * 124 + ".wav", "x" * 124 + ".wav"),
    ],
)
def test_a_chosen_name_gets_its_extension_once(chosen: str, file: str) -> None:
    assert chosen_name(chosen) == file


@pytest.mark.parametrize("device", ["CON", "con", "NUL", "PRN", "AUX", "COM1", "LPT1", "CON.wav"])
def test_a_name_of_a_device_elsewhere_is_a_name_like_any_other(device: str) -> None:
    assert chosen_name(device) == device.removesuffix(".wav") + ".wav"


@pytest.mark.parametrize(
    "chosen",
    [
        "", "../x", "..", ".", "a/b", "/etc/x", "a\\b", ".hidden", "trailing.", "a..b", "a b", "a\0b",
        "a\n", "ä", "x" * 125, "x" * 300, "a%2e%2e", "call:1", "~root", ".wav",
    ],
)  # fmt: skip
def test_everything_else_is_refused(chosen: str) -> None:
    with pytest.raises(ValueError, match="invalid recording filename"):
        chosen_name(chosen)


@pytest.mark.parametrize("token", ["0a1b2c3d", "0a1b2c3d-2"])
def test_a_name_tells_by_its_whole_form_what_something_was_recovered_of(token: str) -> None:
    recovered = recovered_name(MOMENT, token)
    assert drawn_token(recording_name(MOMENT, "0a1b2c3d")) == "0a1b2c3d"
    assert recovered_token(recovered) == token
    for name in (recovered, "mine_0a1b2c3d.wav", multi_channel_name(MOMENT, "0a1b2c3d")):
        assert drawn_token(name) is None
    for name in ("recovered_mine_0a1b2c3d.wav", recording_name(MOMENT, "0a1b2c3d")):
        assert recovered_token(name) is None


@pytest.mark.parametrize("ending", ["", ".wav"])
def test_a_name_that_the_server_draws_is_nobodys_choice(ending: str) -> None:
    for drawn in (recording_name(MOMENT, "0a1b2c3d"), recovered_name(MOMENT, "0a1b2c3d")):
        with pytest.raises(ValueError, match="draws such names itself"):
            chosen_name(drawn.removesuffix(".wav") + ending)


@given(st.text(max_size=200))
def test_whatever_is_chosen_stays_one_plain_segment(chosen: str) -> None:
    try:
        name = chosen_name(chosen)
    except ValueError:
        return
    assert name.isascii()
    assert "/" not in name
    assert ".." not in name
    assert not name.startswith(".")
    assert name.endswith(".wav")
    assert len(name) <= 128
