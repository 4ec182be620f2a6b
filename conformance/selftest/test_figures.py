"""The page of metrics, and the durations of a call detail record."""

import pytest

from conformance.expect import Difference
from conformance.peers.prometheus import read_samples
from conformance.world import check_durations

PAGE = """\
# HELP voiceblender_active_legs Legs
# TYPE voiceblender_active_legs gauge
voiceblender_active_legs 2.0
# TYPE voiceblender_legs_total counter
voiceblender_legs_total{state="ringing",type="sip_inbound"} 3.0
voiceblender_legs_total{type="sip_outbound",state="a \\"b\\", c"} 4 1700000000000
python_info{version="3"} 1.0
"""


def _cdr(total: object, talk: object) -> dict[str, object]:
    return {"reason": "remote_bye", "duration_total": total, "duration_answered": talk}


def test_samples_are_found_by_name_and_labels() -> None:
    samples = read_samples(PAGE)
    assert samples.families == {"voiceblender_active_legs", "voiceblender_legs_total"}
    assert samples.find("active_legs") == 2
    assert samples.find("legs_total", type="sip_inbound", state="ringing") == 3
    assert samples.total("legs_total") == 7


def test_what_is_not_listed_is_told_from_zero() -> None:
    samples = read_samples(PAGE)
    assert samples.find("legs_total", type="sip_inbound") is None
    assert samples.get("rooms_total") == 0
    assert samples.lists("legs_total")
    assert not samples.lists("rooms_total")


@pytest.mark.parametrize("line", ["{}", "voiceblender_x", "voiceblender_x many", "<html>"])
def test_a_page_of_another_format_is_a_difference(line: str) -> None:
    with pytest.raises(Difference):
        read_samples(line + "\n")


def test_durations_near_what_was_measured_are_right() -> None:
    check_durations(_cdr(2.01, 1.2), answered=True, lasted_s=2.1, talked_s=1.1)
    check_durations(_cdr(0.5, 0), answered=False, lasted_s=0.5)
    check_durations(_cdr(0.01, 0), answered=True, lasted_s=0.01, talked_s=0.004)


@pytest.mark.parametrize(
    ("total", "talk", "answered"),
    [
        (0, 0, True),
        (0.0, 0.0, False),
        ("2", 1, True),
        (2.0, None, True),
        (2.0, 2.1, True),
        (2.0, -1, True),
        (2.0, 1.0, False),
        (2.0, 0.0, True),
        (9.0, 1.0, True),
        (9.0, 8.0, True),
    ],
)
def test_durations_that_cannot_be_right_are_a_difference(total: object, talk: object, answered: bool) -> None:
    with pytest.raises(Difference):
        check_durations(_cdr(total, talk), answered=answered, lasted_s=2.0, talked_s=1.0)
