"""When the silence of a far end is a fault."""

from __future__ import annotations

from typing import Literal

import pytest

from tests.mixer.support import World, agreed


@pytest.mark.parametrize(
    ("direction", "held", "has_address", "may_send"),
    [
        ("sendrecv", False, True, True),
        ("recvonly", True, True, True),  # it holds us and may play music
        ("recvonly", True, False, False),  # by an address of zeros
        ("sendonly", False, True, False),
        ("inactive", True, True, False),
        ("sendrecv", False, False, True),  # an address that cannot be sent to is no hold
    ],
)
def test_a_far_end_may_send_unless_its_direction_or_an_address_of_zeros_forbids(
    direction: Literal["sendrecv", "sendonly", "recvonly", "inactive"],
    held: bool,
    has_address: bool,
    may_send: bool,
) -> None:
    port = World().phone(configured=False).port
    assert not port.peer_may_send
    port.configure(agreed(direction=direction, remote_held=held, has_address=has_address))
    assert port.peer_may_send is may_send
