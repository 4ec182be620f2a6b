from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from conformance.peers.dns import DnsServer, Lie, open_dns_server
from vb import name_servers
from vb.dns_records import Answer, Kind, LookupFailed, Naptr, Srv
from vb.name_servers import NameServers, read_hosts

pytestmark = pytest.mark.integration

RECORDS = {
    ("a.example", "A"): ["127.0.0.7", "127.0.0.8"],
    ("alias.example", "CNAME"): ["next.example."],
    ("next.example", "CNAME"): ["a.example."],
    ("loop.example", "CNAME"): ["pool.example."],
    ("pool.example", "CNAME"): ["loop.example."],
    ("six.example", "AAAA"): ["::1"],
    ("both.example", "A"): ["255.255.255.255", "127.0.0.7"],
    ("both.example", "AAAA"): ["::1"],
    ("other.example", "TXT"): ["x"],
    ("_sip._udp.example.com", "SRV"): ["10 60 5070 A.example.", "20 0 5060 ."],
    ("example.com", "NAPTR"): ['50 51 "S" "sip+d2u" "" _sip._udp.example.com.'],
    ("store.inner.example", "A"): ["127.0.0.9"],
}

A_EXAMPLE = {"127.0.0.7", "127.0.0.8"}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's files are ours."""
    (tmp_path / "hosts").write_text(
        "# nothing\n127.0.0.5 Box box.local # ours\n::1 box\nbad line\n127.0.0.6\n"
    )
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.254\nsearch inner.example\n")
    monkeypatch.setattr(name_servers, "HOSTS_FILE", str(tmp_path / "hosts"))
    monkeypatch.setattr(name_servers, "RESOLVER_FILE", str(tmp_path / "resolv.conf"))
    monkeypatch.setattr(name_servers, "TRY_S", 0.2)
    monkeypatch.setattr(name_servers, "OTHER_FAMILY_S", 0.05)
    return tmp_path


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    async with open_dns_server(dict(RECORDS)) as found:
        yield found


@pytest.fixture
async def servers(server: DnsServer) -> NameServers:
    return NameServers([server.address])


@pytest.mark.parametrize("name", ["a.example", "a.example.", "alias.example"])
async def test_addresses_come_with_the_time_they_hold(servers: NameServers, name: str) -> None:
    answer = await servers.look_up(name, "address", 2.0)
    assert set(answer.records) == A_EXAMPLE
    assert answer.ttl_s is not None
    assert 50 < answer.ttl_s <= 60


async def test_addresses_that_cannot_be_reached_come_last(servers: NameServers) -> None:
    assert (await servers.look_up("six.example", "address", 2.0)).records == ("::1",)
    found = await servers.look_up("both.example", "address", 2.0)
    assert set(found.records) == {"::1", "127.0.0.7", "255.255.255.255"}
    assert "127.0.0.7" in found.records[:2]


async def test_services_are_read_in_lower_case(servers: NameServers) -> None:
    found = await servers.look_up("_sip._udp.example.com", "SRV", 2.0)
    assert set(found.records) == {Srv(10, 60, 5070, "a.example"), Srv(20, 0, 5060, ".")}
    found = await servers.look_up("example.com", "NAPTR", 2.0)
    assert found.records == (Naptr(50, 51, "s", "SIP+D2U", "_sip._udp.example.com"),)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nobody.example", "address"),
        ("nobody.example", "SRV"),
        ("other.example", "address"),
        ("other.example", "NAPTR"),
    ],
)
async def test_nothing_is_an_answer(servers: NameServers, name: str, kind: Kind) -> None:
    assert (await servers.look_up(name, kind, 2.0)).records == ()


@pytest.mark.parametrize(
    "name", ["", ".", "a..b", "x" * 70 + ".example", "x." * 200 + "example", "x.invalid"]
)
async def test_what_is_no_name_is_not_asked_for(servers: NameServers, server: DnsServer, name: str) -> None:
    assert await servers.look_up(name, "address", 2.0) == Answer()
    assert server.asked == []


async def test_the_hosts_file_is_believed_first_and_read_again_once_it_changes(
    servers: NameServers, server: DnsServer, files: Path
) -> None:
    server.records["box", "A"] = ["127.0.0.66"]
    assert (await servers.look_up("box", "address", 2.0)).records == ("127.0.0.5", "::1")
    assert (await servers.look_up("box.local", "address", 2.0)).records == ("127.0.0.5",)
    assert (await servers.look_up("box.local", "SRV", 2.0)).records == ()
    assert (await servers.look_up("localhost", "address", 2.0)).records == ("127.0.0.1", "::1")
    assert (await servers.look_up("x.localhost.", "address", 2.0)).records == ("127.0.0.1", "::1")
    assert server.asked == []
    (files / "hosts").write_text("127.0.0.55 box\n")
    assert (await servers.look_up("box", "address", 2.0)).records == ("127.0.0.55",)


async def test_a_short_name_is_looked_for_in_the_search_order(
    servers: NameServers, server: DnsServer
) -> None:
    assert (await servers.look_up("store", "address", 2.0)).records == ("127.0.0.9",)
    assert server.questions("A")[0] == "store.inner.example"


def test_hosts_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    assert read_hosts(str(tmp_path / "nothing")) == {}
    (tmp_path / "hosts").write_bytes(b"127.0.0.1 \xff ok\n\0\n")
    assert read_hosts(str(tmp_path / "hosts"))["ok"] == ("127.0.0.1",)


async def test_what_is_cut_short_is_asked_for_over_tcp(servers: NameServers, server: DnsServer) -> None:
    server.lies["a.example"] = "truncation"
    assert set((await servers.look_up("a.example", "address", 2.0)).records) == A_EXAMPLE
    assert "a.example A/tcp" in server.asked


@pytest.mark.parametrize(
    "lie", ["silence", "wrong id", "wrong question", "servfail", "refused", "huge", "garbage", "no end"]
)
async def test_a_server_that_lies_gives_nothing(servers: NameServers, server: DnsServer, lie: Lie) -> None:
    server.lies["a.example"] = lie
    began = trio.current_time()
    with pytest.raises(LookupFailed):
        await servers.look_up("a.example", "address", 0.5)
    assert trio.current_time() - began < 1.5
    assert (await servers.look_up("alias.example", "address", 2.0)).records, "others are answered"


async def test_aliases_in_a_circle_lead_nowhere(servers: NameServers) -> None:
    with pytest.raises(LookupFailed):
        await servers.look_up("loop.example", "address", 0.5)


async def test_no_more_than_32_records_are_taken(servers: NameServers, server: DnsServer) -> None:
    server.records["many.example", "A"] = [f"127.0.1.{index}" for index in range(100)]
    assert len((await servers.look_up("many.example", "address", 2.0)).records) == name_servers.MAX_RECORDS


@pytest.mark.parametrize("lie", ["silence", "servfail"])
async def test_the_next_server_is_asked_when_one_fails(server: DnsServer, lie: Lie) -> None:
    async with open_dns_server(dict(RECORDS)) as bad:
        bad.lies["a.example"] = lie
        found = await NameServers([bad.address, server.address]).look_up("a.example", "address", 2.0)
        assert set(found.records) == A_EXAMPLE
        assert bad.asked


async def test_one_family_that_is_not_answered_for_holds_up_the_other_only_a_moment(
    server: DnsServer,
) -> None:
    class Half(DnsServer):
        def answer(self, wire: bytes, *, tcp: bool = False) -> list[bytes]:
            return [] if b"\x00\x1c\x00\x01" in wire else super().answer(wire, tcp=tcp)

    server.__class__ = Half
    began = trio.current_time()
    found = await NameServers([server.address]).look_up("a.example", "address", 5.0)
    assert set(found.records) == A_EXAMPLE
    assert trio.current_time() - began < 2


async def test_a_port_where_nobody_listens_is_an_error() -> None:
    with pytest.raises(LookupFailed):
        await NameServers(["127.0.0.1:9"]).look_up("a.example", "address", 0.4)
