from __future__ import annotations

import pytest

from vb.rtcleg.ice_servers import IceServerError, IceServers, StunServer, TurnServer


def test_servers_of_both_kinds_are_read() -> None:
    urls = ["stun:stun.example.org", "stun:[::1]:19302", "turn:u:p%40ss@turn.example.org:80?transport=tcp"]
    found = IceServers.parse([*urls, "turn:u:p@192.0.2.1?transport=udp"])
    assert found.stun == (StunServer("stun.example.org", 3478), StunServer("::1", 19302))
    assert found.turn == (
        TurnServer("turn.example.org", 80, "u", "p@ss", stream=True),
        TurnServer("192.0.2.1", 3478, "u", "p"),
    )


def test_a_relay_over_tls_has_its_own_port_and_is_reached_over_tcp() -> None:
    found = IceServers.parse(["turns:u:p@turn.example.org", "turns:u:p@[::1]:443?transport=tcp"])
    assert found.turn == (
        TurnServer("turn.example.org", 5349, "u", "p", stream=True, tls=True),
        TurnServer("::1", 443, "u", "p", stream=True, tls=True),
    )


def test_none_stands_for_no_servers() -> None:
    assert IceServers.parse(["none"]) == IceServers()


@pytest.mark.parametrize(
    "url",
    [
        "stun.example.org",
        "stuns:stun.example.org",
        "turn:secret@turn.example.org",
        "turn:turn.example.org",
        "stun:u:p@stun.example.org",
        "stun:stun.example.org:0",
        "stun:stun.example.org:65536",
        "turn:u:secret@turn.example.org?transport=tls",
        "turns:u:secret@turn.example.org?transport=udp",
        "turns:turn.example.org",
        "stun:",
    ],
)
def test_what_cannot_be_used_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(IceServerError) as refused:
        IceServers.parse(["stun:a", url])
    assert "item 2" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_password_does_not_show() -> None:
    assert "secret" not in repr(IceServers.parse(["turn:u:secret@turn.example.org"]))


def test_from_loopback_only_loopback_is_asked() -> None:
    servers = IceServers.parse(
        ["stun:stun.example.org", "stun:127.0.0.1", "turn:u:p@localhost", "turn:u:p@a"]
    )
    assert servers.within_reach("192.0.2.1") == servers
    near = servers.within_reach("127.0.0.1")
    assert [server.host for server in near.stun] == ["127.0.0.1"]
    assert [server.host for server in near.turn] == ["localhost"]
