"""What counts as one source."""

from __future__ import annotations

import pytest

from vb.limits.sources import source_of


def test_an_ipv4_address_is_a_source_of_its_own() -> None:
    assert source_of("192.0.2.7") == "192.0.2.7"


@pytest.mark.parametrize("host", ["2001:db8:1:2::", "2001:db8:1:2:3:4:5:6", "2001:DB8:1:2:ffff::1"])
def test_the_addresses_of_one_ipv6_host_are_one_source(host: str) -> None:
    assert source_of(host) == "2001:db8:1:2::/64"


def test_its_neighbour_is_another_one() -> None:
    assert source_of("2001:db8:1:3::1") == "2001:db8:1:3::/64"
