from __future__ import annotations

import pytest

from vb.api.access import Access, parse_networks

HOST = (b"host", b"pbx.example")


def access(*allowed: str, trust: bool = False, tokens: tuple[str, ...] = ()) -> Access:
    return Access(parse_networks(allowed), trust_proxy_headers=trust, tokens=tokens)


def status(found: object) -> int | None:
    return getattr(found, "status", None)


def test_without_rules_everybody_may_come() -> None:
    assert access().refuse("/v1/legs", "203.0.113.9", []) is None


@pytest.mark.parametrize(
    ("client", "refused"),
    [
        ("192.0.2.7", None),
        ("::ffff:192.0.2.7", None),
        ("198.51.100.4", None),
        ("198.51.100.5", 403),
        ("2001:db8::1", None),
        ("2001:db9::1", 403),
        (None, 403),
    ],
)
def test_only_listed_addresses_may_connect(client: str | None, refused: int | None) -> None:
    rules = access("192.0.2.99/24", "198.51.100.4", "2001:db8::/32")
    assert status(rules.refuse("/metrics", client, [])) == refused


def test_a_forwarded_address_counts_only_when_the_proxy_is_trusted() -> None:
    headers = [(b"x-forwarded-for", b"192.0.2.7, 10.0.0.1")]
    assert status(access("192.0.2.0/24").refuse("/v1/legs", "10.0.0.1", headers)) == 403
    assert access("192.0.2.0/24", trust=True).refuse("/v1/legs", "10.0.0.1", headers) is None


def test_a_malformed_forwarded_address_is_refused_and_a_missing_one_is_the_peers() -> None:
    rules = access("10.0.0.0/8", trust=True)
    assert status(rules.refuse("/v1/legs", "10.0.0.1", [(b"x-forwarded-for", b"nobody")])) == 403
    assert rules.refuse("/v1/legs", "10.0.0.1", []) is None


def test_forwarded_addresses_in_several_lines_are_one_list() -> None:
    rules = access("192.0.2.0/24", trust=True)
    ours, theirs = (b"x-forwarded-for", b"192.0.2.7"), (b"x-forwarded-for", b"203.0.113.9")
    assert rules.refuse("/v1/legs", "10.0.0.1", [ours, theirs]) is None
    assert status(rules.refuse("/v1/legs", "10.0.0.1", [theirs, ours])) == 403


@pytest.mark.parametrize(
    ("forwarded", "refused"),
    [(b"192.0.2.1%junk", 403), (b"fe80::1%eth0", None), (b"fe80::1%", 403), (b"2001:db8::1%eth0", 403)],
)
def test_only_a_link_local_address_has_a_zone(forwarded: bytes, refused: int | None) -> None:
    rules = access("192.0.2.0/24", "fe80::/10", "2001:db8::/32", trust=True)
    assert status(rules.refuse("/v1/legs", "10.0.0.1", [(b"x-forwarded-for", forwarded)])) == refused


@pytest.mark.parametrize("origin", [b"http://[", b"http://a]b", b"null", b"http://pbx.example.evil"])
def test_an_origin_that_is_not_ours_or_cannot_be_read_is_forbidden(origin: bytes) -> None:
    headers = [HOST, (b"origin", origin), (b"authorization", b"Bearer one")]
    refusal = access(tokens=("one",)).refuse("/v1/vsi", "203.0.113.9", headers, upgrade=True)
    assert status(refusal) == 403


@pytest.mark.parametrize("origin", [b"null", b"", b"file://", b"pbx.example"])
@pytest.mark.parametrize("host", [[], [(b"host", b"")]])
def test_an_origin_without_a_host_is_forbidden_to_those_who_name_none_themselves(
    origin: bytes, host: list[tuple[bytes, bytes]]
) -> None:
    headers = [*host, (b"origin", origin), (b"authorization", b"Bearer one")]
    refusal = access(tokens=("one",)).refuse("/v1/vsi", "203.0.113.9", headers, upgrade=True)
    assert status(refusal) == 403


@pytest.mark.parametrize(
    ("value", "refused"),
    [
        (b"Bearer one", None),
        (b"bearer two", None),
        (b"Bearer three", 401),
        (b"Basic one", 401),
        (b"Bearer ", 401),
        (b"", 401),
    ],
)
def test_any_of_the_tokens_opens_the_api(value: bytes, refused: int | None) -> None:
    rules = access(tokens=("one", "two"))
    assert status(rules.refuse("/v1/legs", "192.0.2.1", [(b"authorization", value)])) == refused


def test_health_and_documents_need_no_token() -> None:
    rules = access(tokens=("one",))
    for path in ("/healthz", "/readyz", "/openapi.json", "/asyncapi.json", "/docs"):
        assert rules.refuse(path, "192.0.2.1", []) is None
    assert status(rules.refuse("/metrics", "192.0.2.1", [])) == 401


def test_a_web_page_of_another_site_may_not_open_a_websocket() -> None:
    rules = access(tokens=("one",))
    token = (b"authorization", b"Bearer one")
    foreign, own = (b"origin", b"https://evil.example"), (b"origin", b"https://pbx.example")
    assert status(rules.refuse("/v1/vsi", "192.0.2.1", [HOST, token, foreign], upgrade=True)) == 403
    assert rules.refuse("/v1/vsi", "192.0.2.1", [HOST, token, own], upgrade=True) is None
    assert rules.refuse("/v1/vsi", "192.0.2.1", [HOST, token], upgrade=True) is None
