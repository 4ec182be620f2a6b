from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.web.errors import UrlRefused
from vb.web.policy import FetchPolicy, is_public, parse_url

PUBLIC = ["8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"]
NOT_PUBLIC = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.0.170", "192.0.2.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.9",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::808:808",
    "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::1", "3fff::1", "fc00::1",
    "fd12:3456::1", "fe80::1", "fec0::1", "ff02::1", "4000::1",
]  # fmt: skip


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_public(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_special_addresses_are_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "gopher://127.0.0.1:70/_x", "ftp://example.com/a.wav", "data:audio/wav,x",
        "//example.com/a.wav", "example.com/a.wav", "", "http://", "http:///a.wav", "http://:80/",
        "http://0x7f000001/", "http://2130706433/", "http://127.1/", "http://0177.0.0.1/", "http://127.0.0.01/",
        "http://0x7f.0.0.1/", "http://1.2.3.4.5/", "http://256.0.0.1/", "http://example.0x10/",
        "http://[::1/", "http://::1/", "http://[fe80::1%25eth0]/", "http://[1.2.3.4]/",
        "http://exa mple.com/", "http://example.com\\@127.0.0.1/", "http://example.com/\r\nX: y",
        "http://example.com:0/", "http://example.com:70000/", "http://example.com:x/",
        "http://%31%32%37.0.0.1/", "http://a..b/", "http://-a.example/", "http://" + "a" * 64 + ".example/",
        "http://" + "a." * 130 + "example/", "http://example.com/" + "x" * 9000,
    ],
)  # fmt: skip
def test_malformed_or_foreign_urls_are_refused(url: str) -> None:
    with pytest.raises(UrlRefused):
        parse_url(url)


@pytest.mark.parametrize("url", ["http://１２７.0.0.1/", "http://127。0。0。1/", "http://127.0.0.1./"])
def test_look_alike_forms_are_seen_as_the_address_they_mean(url: str) -> None:
    assert parse_url(url).address == ip_address("127.0.0.1")


def test_a_url_is_taken_apart() -> None:
    target = parse_url("https://User:p%40ss@Files.Example.com:8443/a/b.wav?token=1#part")
    assert target.host == "files.example.com"
    assert target.credentials == ("User", "p@ss")
    assert target.authority == "files.example.com:8443"
    assert target.path == "/a/b.wav"
    assert target.url == "https://files.example.com:8443/a/b.wav?token=1"
    assert target.secure


def test_the_default_port_is_left_out_of_the_host_header() -> None:
    assert parse_url("http://[2001:db8::1]:80/x").authority == "[2001:db8::1]"


def test_a_relative_redirect_stays_on_its_host() -> None:
    moved = parse_url("http://h.example:81/a/b.wav?q").redirected("../c.wav")
    assert (moved.authority, moved.selector) == ("h.example:81", "/c.wav")


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://x/", "http://0x7f000001/"])
def test_a_redirect_is_judged_like_a_first_url(location: str) -> None:
    with pytest.raises(UrlRefused):
        parse_url("http://h.example/").redirected(location)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://169.254.169.254/latest/", "http://[::1]/", "http://[::ffff:127.0.0.1]/"],
)
def test_private_literals_are_refused_by_default(url: str) -> None:
    target = parse_url(url)
    with pytest.raises(UrlRefused, match="is not allowed"):
        FetchPolicy().choose(target, [target.host])


def test_a_name_that_resolves_to_a_private_address_is_refused_without_telling_it() -> None:
    with pytest.raises(UrlRefused) as refused:
        FetchPolicy().choose(parse_url("http://inside.example/"), ["10.0.0.5"])
    assert "10.0.0.5" not in str(refused.value)


def test_one_private_address_condemns_the_name() -> None:
    with pytest.raises(UrlRefused):
        FetchPolicy().choose(parse_url("http://both.example/"), ["8.8.8.8", "127.0.0.1"])


def test_a_name_without_addresses_is_refused() -> None:
    with pytest.raises(UrlRefused, match="has no address"):
        FetchPolicy().choose(parse_url("http://none.example/"), [])


def test_public_addresses_are_returned_once_and_in_order() -> None:
    chosen = FetchPolicy().choose(parse_url("http://h.example/"), ["8.8.8.8", "1.1.1.1", "8.8.8.8"])
    assert [str(address) for address in chosen] == ["8.8.8.8", "1.1.1.1"]


def test_a_listed_name_opens_that_name_only() -> None:
    policy = FetchPolicy.parse(["Files.Internal"])
    assert policy.choose(parse_url("http://files.internal/"), ["10.0.0.5"])
    with pytest.raises(UrlRefused):
        policy.choose(parse_url("http://other.internal/"), ["10.0.0.5"])
    with pytest.raises(UrlRefused):
        policy.choose(parse_url("http://sub.files.internal/"), ["10.0.0.5"])


def test_a_listed_network_opens_its_addresses_only() -> None:
    policy = FetchPolicy.parse(["127.0.0.0/8", "[::1]"])
    assert policy.choose(parse_url("http://localhost/"), ["::1", "127.0.0.1"])
    with pytest.raises(UrlRefused):
        policy.choose(parse_url("http://h.example/"), ["10.0.0.1"])
    with pytest.raises(UrlRefused):
        policy.choose(parse_url("http://[::ffff:127.0.0.1]/"), ["::ffff:127.0.0.1"])


@pytest.mark.parametrize("entry", ["", "127.0.0.1:80", "http://x/", "10.0.0.0/33", "a b", "0x7f000001"])
def test_a_bad_entry_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match="not a host name, address or network"):
        FetchPolicy.parse([entry])


@given(st.text(max_size=40), st.sampled_from(["", "http://", "https://", "http://["]))
def test_parsing_never_fails_with_anything_else(text: str, prefix: str) -> None:
    try:
        parse_url(prefix + text)
    except UrlRefused:
        pass


@pytest.mark.parametrize("location", ["http://[bad", "//[x", "http://a]b/", "http://ex\u2100ample.com/"])
def test_a_malformed_redirect_is_refused(location: str) -> None:
    target = parse_url("http://example.com/a.wav")
    with pytest.raises(UrlRefused, match="malformed URL"):
        target.redirected(location)
