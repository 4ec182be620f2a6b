"""What a client says that it can speak in its session."""

from __future__ import annotations

from time import process_time

import pytest

from vb.quic.requests import AVAILABLE, offered_protocols
from vb.quic.session import Request


def offered(*values: str) -> list[str]:
    headers = tuple((AVAILABLE, value) for value in values)
    return offered_protocols(Request("/", "", headers, None, ("192.0.2.7", 4433), "pbx.example"))


def test_strings_of_all_lines_are_offered_in_order() -> None:
    assert offered('"moq-00", "vb.token.x";a=1', '"b\\"c"') == ["moq-00", "vb.token.x", 'b\\"c']
    assert offered("", "moq-00", '"') == []
    assert offered('"a", "b') == ["a"]


@pytest.mark.parametrize("piece", ['"', '\\"', '"\\"', '"a\\', 'a"b', "a"])
def test_whatever_a_stranger_offers_is_read_in_no_time(piece: str) -> None:
    began = process_time()
    offered('"' + piece * (60_000 // len(piece)))
    assert process_time() - began < 1  # forty seconds where each quote begins a search of its own
