import pytest

from conformance.expect import ABSENT, ANY, TIME, UUID, Difference, between, check, one_of


def test_extra_keys_are_allowed_and_missing_ones_are_not() -> None:
    check("x", {"a": 1, "b": 2}, {"a": 1})
    with pytest.raises(Difference) as caught:
        check("x", {"b": 2}, {"a": 1})
    assert caught.value.where == "x.a"


def test_true_is_not_one() -> None:
    with pytest.raises(Difference):
        check("x", True, 1)
    with pytest.raises(Difference):
        check("x", 1, True)


def test_an_integer_equals_the_same_float() -> None:
    check("x", 1, 1.0)


def test_lists_need_the_same_length() -> None:
    check("x", [1, {"a": 2}], [1, {"a": ANY}])
    with pytest.raises(Difference):
        check("x", [1, 2], [1])


def test_an_absent_key_must_be_absent() -> None:
    check("x", {"a": 1}, {"b": ABSENT})
    with pytest.raises(Difference):
        check("x", {"b": None}, {"b": ABSENT})


def test_a_nested_difference_names_its_path() -> None:
    with pytest.raises(Difference) as caught:
        check("event", {"cdr": {"reason": "busy"}}, {"cdr": {"reason": "declined"}})
    assert caught.value.where == "event.cdr.reason"


@pytest.mark.parametrize(
    "text", ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.12Z", "2026-01-01T00:00:00.123456789Z"]
)
def test_times_of_the_envelope_match(text: str) -> None:
    check("t", text, TIME)


@pytest.mark.parametrize(
    "text", ["2026-01-01T00:00:00.10Z", "2026-01-01T00:00:00+00:00", "2026-01-01 00:00:00Z", 5]
)
def test_other_times_do_not(text: object) -> None:
    with pytest.raises(Difference):
        check("t", text, TIME)


def test_matchers_refuse_what_they_should() -> None:
    for value, matcher in ((5, one_of("5")), (True, between(0, 2)), ("x", UUID), (2.1, between(0, 2))):
        with pytest.raises(Difference):
            check("x", value, matcher)
