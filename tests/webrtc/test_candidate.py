import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.webrtc.candidate import (
    Candidate,
    CandidateError,
    CandidateType,
    candidate_priority,
    local_candidate,
    parse_candidate,
)

CHROME = (
    "candidate:842163049 1 udp 1677729535 203.0.113.4 46154 typ srflx raddr 192.0.2.3 rport 56143"
    " generation 0 ufrag EsAw network-id 1 network-cost 10"
)
FIREFOX = "candidate:0 1 UDP 2122252543 8f1e4a1c-7e3a-4b57-ae0b-1b2b4f0c0a11.local 51113 typ host"
TCP = "candidate:4 1 TCP 2105524479 192.0.2.3 9 typ host tcptype active"


def test_a_browsers_candidate_is_read_with_its_generation() -> None:
    candidate = parse_candidate(CHROME)
    assert candidate.address == ("203.0.113.4", 46154)
    assert (candidate.type, candidate.priority, candidate.related) == (
        "srflx",
        1677729535,
        ("192.0.2.3", 56143),
    )
    assert candidate.username_fragment == "EsAw"
    assert candidate.is_usable


@pytest.mark.parametrize("prefix", ["", "a=candidate:", "candidate:", "  a=candidate:"])
def test_the_prefix_of_a_line_may_be_there_or_not(prefix: str) -> None:
    assert parse_candidate(prefix + CHROME.removeprefix("candidate:")) == parse_candidate(CHROME)


@pytest.mark.parametrize(
    "text",
    [
        FIREFOX,
        TCP,
        CHROME.replace(" 1 udp", " 2 udp"),
        CHROME.replace("203.0.113.4", "0.0.0.0"),
        CHROME.replace("203.0.113.4", "224.0.0.1"),
        CHROME.replace("203.0.113.4", "255.255.255.255"),
        CHROME.replace("203.0.113.4", "fe80::1%eth0"),
        CHROME.replace("46154", "0"),
    ],
)
def test_names_tcp_other_components_and_addresses_of_nobody_are_read_but_not_used(text: str) -> None:
    assert not parse_candidate(text).is_usable


@pytest.mark.parametrize(
    "text",
    [
        "",
        "candidate:",
        "1 1 udp 1 192.0.2.1 9 typ",
        "1 1 udp 1 192.0.2.1 9 host typ",
        "1 1 udp 1 192.0.2.1 65536 typ host",
        "1 x udp 1 192.0.2.1 9 typ host",
        "1 1 udp 4294967296 192.0.2.1 9 typ host",
        "1 1 udp 1 192.0.2.1 9 typ guest",
        f"1 1 udp 1 192.0.2.1 9 typ host {'x' * 600}",
        f"{'1' * 33} 1 udp 1 192.0.2.1 9 typ host",
    ],
)
def test_what_is_no_candidate_is_refused(text: str) -> None:
    with pytest.raises(CandidateError):
        parse_candidate(text)


@given(st.text(max_size=100) | st.lists(st.sampled_from(CHROME.split()), max_size=14).map(" ".join))
def test_any_text_gives_a_candidate_or_the_one_error(text: str) -> None:
    try:
        parse_candidate(text)
    except CandidateError:
        pass


def test_what_is_written_is_read_back() -> None:
    candidate = local_candidate("srflx", ("203.0.113.9", 4000), related=("192.0.2.9", 5000))
    assert parse_candidate(candidate.to_text()) == candidate
    ipv6 = parse_candidate("1 1 udp 1 2001:DB8:0::1 9 typ host ufrag ab+/")
    assert ipv6 == Candidate("1", 1, "udp", 1, "2001:db8::1", 9, "host", None, "ab+/")
    assert parse_candidate(ipv6.to_text()) == ipv6


def test_host_goes_before_reflexive_before_relayed() -> None:
    kinds: tuple[CandidateType, ...] = ("host", "prflx", "srflx", "relay")
    priorities = [candidate_priority(kind) for kind in kinds]
    assert priorities == sorted(priorities, reverse=True)
    assert candidate_priority("host") == 126 * 2**24 + 65535 * 2**8 + 255


def test_candidates_of_one_base_and_type_share_a_foundation() -> None:
    first, second = (local_candidate("host", ("192.0.2.1", port)) for port in (1, 2))
    other = local_candidate("host", ("192.0.2.2", 1))
    assert first.foundation == second.foundation != other.foundation
