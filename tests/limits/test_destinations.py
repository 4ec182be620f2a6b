from __future__ import annotations

import pytest

from vb.limits.destinations import Destinations


def test_without_rules_everything_may_be_called() -> None:
    assert Destinations().allow("+4930123", "pbx.example")
    assert Destinations().allow(None, "192.0.2.1")


@pytest.mark.parametrize(
    ("user", "allowed"),
    [
        ("+4930123", True),
        ("+49-30.(12)3", True),
        ("%2B4930123", True),
        ("+4930123;phone-context=x", True),
        ("+1555", False),
        ("004930123", False),
        ("anna", False),
        (None, False),
        ("%252B4930", False),
    ],
)
def test_a_prefix_lets_numbers_that_begin_with_it_through(user: str | None, allowed: bool) -> None:
    assert Destinations(["+49"]).allow(user, "pbx.example") is allowed


@pytest.mark.parametrize(
    ("user", "allowed"), [("+49301", True), ("+499001", False), ("+4990077", True), ("+4990078", False)]
)
def test_the_longest_prefix_decides(user: str, allowed: bool) -> None:
    assert Destinations(["+49", "!+49900", "+4990077"]).allow(user, "pbx.example") is allowed


def test_a_list_of_refusals_lets_the_rest_through() -> None:
    rules = Destinations(["!+49900", "!@bad.example"])
    assert rules.allow("+4930", "pbx.example")
    assert not rules.allow("+49900", "pbx.example")
    assert not rules.allow("anna", "bad.example")


@pytest.mark.parametrize("host", ["pbx.example", "PBX.example", "pbx.example."])
def test_a_host_is_compared_as_names_are(host: str) -> None:
    assert Destinations(["@Pbx.Example."]).allow("anyone", host)
    assert not Destinations(["@pbx.example"]).allow("anyone", f"x{host}")


def test_a_prefix_with_a_host_counts_at_that_host_only_and_before_the_bare_prefix() -> None:
    rules = Destinations(["+44@carrier.example", "!+44", "@pbx.example", "@[2001:db8::1]"])
    assert rules.allow("+4420", "carrier.example")
    assert not rules.allow("+4420", "pbx.example")
    assert rules.allow("anna", "pbx.example")
    assert rules.allow("anna", "2001:db8::1")
    assert not rules.allow("anna", "carrier.example")


@pytest.mark.parametrize(
    ("rule", "host"),
    [
        ("[2001:0DB8::1]", "2001:db8::1"),
        ("[2001:db8:0:0::1]", "[2001:DB8::1]"),
        ("2001:db8::1", "2001:db8:0:0:0:0:0:1"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("[::ffff:c000:201]", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1."),
    ],
)
def test_an_address_is_the_same_in_every_spelling(rule: str, host: str) -> None:
    assert not Destinations([f"!@{rule}"]).allow("anyone", host)
    assert Destinations([f"@{rule}"]).allow("anyone", host)
    assert not Destinations([f"@{rule}"]).allow("anyone", "2001:db8::2")


ODD_ADDRESSES = [
    "0xa.0.0.1",
    "0XA000001",
    "10.0.0.0x1",
    "167772161",
    "10.1",
    "012.0.0.1",
    "10.0.0.01",
    "10.0.0.256",
]


@pytest.mark.parametrize("host", ODD_ADDRESSES)
def test_an_address_in_a_spelling_of_old_resolvers_is_refused_wherever_there_are_rules(host: str) -> None:
    assert not Destinations(["!@10.0.0.1"]).allow("anyone", host)
    assert not Destinations(["+49", "@10.0.0.1"]).allow("+4930", host)
    assert Destinations().allow("anyone", host)


@pytest.mark.parametrize("host", ODD_ADDRESSES)
def test_a_rule_with_such_an_address_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="four decimal numbers"):
        Destinations([f"!@{host}"])


@pytest.mark.parametrize("host", ["0xa.example", "10.0.0.1.example", "4u", "x1", "0x-1"])
def test_a_name_with_digits_is_a_name(host: str) -> None:
    assert Destinations([f"@{host}"]).allow("anyone", host)


def test_a_refusal_wins_over_its_own_opposite() -> None:
    assert not Destinations(["+49", "!+49"]).allow("+4930", "pbx.example")


def test_names_are_compared_without_regard_to_case() -> None:
    assert not Destinations(["!Anna"]).allow("aNNa", "pbx.example")


@pytest.mark.parametrize("text", ["!", "@", "!@", "a b", "a@b@c", "a!b", "+49@"])
def test_what_is_no_rule_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not a prefix"):
        Destinations([text])
