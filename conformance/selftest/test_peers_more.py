"""The peers for text, TLS, object stores and hostile servers, against each other."""

import ssl
from pathlib import Path

import pytest
import trio

from conformance.peers.bucket import open_bucket
from conformance.peers.certificates import Authority
from conformance.peers.hostile_http import open_hostile
from conformance.peers.http import HttpClient
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_stream import open_listener, open_tls
from conformance.peers.text_peer import BOM, RED, T140, Block, open_text, read_red, write_red


def test_redundant_text_survives_the_way_there_and_back() -> None:
    blocks = read_red(write_red([(600, b"a"), (300, b"")], "é".encode()))
    assert blocks == (Block(T140, 600, b"a"), Block(T140, 300, b""), Block(T140, 0, "é".encode()))


def test_a_redundant_payload_is_laid_out_as_rfc_2198_shows() -> None:
    payload = write_red([(0, b""), (600, b"hi ")], b"there")
    assert payload.hex() == "e3000000e3096003636869207468657265"


@pytest.mark.parametrize("payload", [b"", b"\xe3", b"\xe3\x00\x00", b"\xe3\x00\x03\xff\x63x"])
def test_a_broken_redundant_payload_is_told(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"block|header"):
        read_red(payload)


@pytest.mark.integration
async def test_text_peers_hear_each_other_and_the_opening_mark_is_no_text() -> None:
    async with open_text("a") as a, open_text("b") as b:
        a.remote = ("127.0.0.1", b.port)
        await a.send(BOM)
        await a.send("hé")
        await a.send("llo", lost=True)
        await a.send("!")
        first, second = await b.packet(), await b.packet()
        assert (first.text, first.payload_type, second.history, second.text) == (
            "hé",
            RED,
            ["hé", "llo"],
            "!",
        )
        assert second.sequence == (first.sequence + 2) & 0xFFFF


def test_a_certificate_is_accepted_by_those_who_trust_its_issuer_only(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path / "a"), Authority(tmp_path / "b", "somebody else")
    assert _handshake(authority.server_context("127.0.0.1"), authority.client_context()) is None
    for server in (authority.server_context("other.example.com"), stranger.server_context("127.0.0.1")):
        assert _handshake(server, authority.client_context()) is not None


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLError | None:
    """Lets two contexts meet in memory; returns what the client has against the server."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    caller = client.wrap_bio(down, up, server_hostname="127.0.0.1")
    callee = server.wrap_bio(up, down, server_side=True)
    for _ in range(6):
        for side in (caller, callee):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as problem:
                return problem
    return None


@pytest.mark.integration
async def test_sip_peers_call_each_other_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with (
        open_listener(("127.0.0.1", 9), authority.server_context("127.0.0.1")) as callee,
        open_tls(callee.local, authority.client_context()) as caller,
    ):
        call = caller.new_call("alice")
        await call.send_invite(audio_sdp(40000))
        taken = await callee.next_call()
        assert taken.invite is not None
        assert "SIP/2.0/TLS" in taken.invite.must("Via")
        await taken.reply(taken.invite, 486)
        assert (await call.any_response("INVITE")).status == 486


@pytest.mark.integration
async def test_a_bucket_keeps_what_is_put_into_it() -> None:
    async with open_bucket("calls") as bucket:
        client = HttpClient("127.0.0.1", bucket.port)
        assert (await client.ask("HEAD", "/calls")).status == 200
        assert (await client.ask("HEAD", "/other")).status == 404
        signed = ("Authorization", "AWS4-HMAC-SHA256 Credential=KEY/20260101/eu/s3/aws4_request, Signature=x")
        assert (await client.ask("PUT", "/calls/day/a%20b", b"data", (signed,))).status == 200
        assert (bucket.objects, bucket.credentials) == ({"day/a b": b"data"}, {("KEY", "eu")})
        found = await client.ask("HEAD", "/calls/day/a%20b")
        assert (found.status, (await client.ask("HEAD", "/calls/day/b")).status) == (200, 404)
        bucket.put_status = 503
        assert (await client.ask("PUT", "/calls/x", b"data")).status == 503


@pytest.mark.integration
async def test_a_hostile_server_never_ends_its_body() -> None:
    async with open_hostile() as server:
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream:
            await stream.send_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
            got = 0
            while got < 1 << 20:
                got += len(await stream.receive_some(65536))
        assert server.asked["/endless"] == 1
