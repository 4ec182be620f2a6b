"""Both roles of DTLS against each other, datagram by datagram."""

import datetime
import hashlib

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from vb.sdp.fingerprint import Fingerprint
from vb.webrtc.certificate import make_identity
from vb.webrtc.dtls import HANDSHAKE_LIMIT_S, PROFILES, Dtls, DtlsContext, DtlsState, Role, SrtpProfile

TODAY = datetime.datetime(2026, 5, 4, tzinfo=datetime.UTC)
OURS = DtlsContext(make_identity(TODAY, 1))
THEIRS = DtlsContext(make_identity(TODAY, 2))


def pair(ours: DtlsContext = OURS, theirs: DtlsContext = THEIRS, mtu_bytes: int = 1200) -> tuple[Dtls, Dtls]:
    client = Dtls(ours, "client", [theirs.identity.fingerprint], mtu_bytes=mtu_bytes)
    server = Dtls(theirs, "server", [ours.identity.fingerprint], mtu_bytes=mtu_bytes)
    server.start(0.0)
    client.start(0.0)
    return client, server


def talk(client: Dtls, server: Dtls, *, now: float = 0.0) -> list[int]:
    """Carries datagrams both ways until nobody has any; returns their sizes."""
    sizes: list[int] = []
    while True:
        flights = [(server, client.outgoing()), (client, server.outgoing())]
        if not any(data for _, data in flights):
            return sizes
        for receiver, datagrams in flights:
            for datagram in datagrams:
                sizes.append(len(datagram))
                receiver.receive(datagram, now)


def test_a_handshake_gives_both_sides_the_same_keys() -> None:
    client, server = pair()
    sizes = talk(client, server)
    assert (client.state, server.state) == (DtlsState.CONNECTED, DtlsState.CONNECTED)
    assert client.keys is not None
    assert server.keys is not None
    assert client.keys.profile is SrtpProfile.AEAD_AES_128_GCM
    assert (client.keys.send, client.keys.receive) == (server.keys.receive, server.keys.send)
    assert client.keys.send != client.keys.receive
    assert len(client.keys.send) == 28
    assert max(sizes) <= 1200
    assert client.deadline() is None
    assert str(client.keys.send) not in repr(client.keys)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_agreed_on_and_has_keys_of_its_size(profile: SrtpProfile) -> None:
    client, server = pair(theirs=DtlsContext(THEIRS.identity, [profile]))
    talk(client, server)
    assert client.keys is not None
    assert client.keys.profile is profile
    assert len(client.keys.send) == profile.key_bytes + profile.salt_bytes


@pytest.mark.parametrize("role", ["client", "server"])
def test_a_certificate_that_was_not_announced_ends_the_handshake(role: Role) -> None:
    client, server = pair()
    context = OURS if role == "client" else THEIRS
    stranger = Dtls(context, role, [Fingerprint("sha-256", bytes(32))])
    stranger.start(0.0)
    ends = (stranger, server) if role == "client" else (client, stranger)
    talk(*ends)
    assert stranger.state is DtlsState.FAILED
    assert stranger.failure == "the certificate is not that of the description"
    assert [end.keys for end in ends] == [None, None]
    assert ends[0].state is ends[1].state is DtlsState.FAILED


def test_without_a_known_fingerprint_nobody_is_believed() -> None:
    client, _ = pair()
    server = Dtls(THEIRS, "server", [Fingerprint("md5", bytes(16))])
    server.start(0.0)
    talk(client, server)
    assert server.state is DtlsState.FAILED


def test_a_peer_without_srtp_is_refused() -> None:
    client, _ = pair()
    context = SSL.Context(SSL.DTLS_METHOD)
    context.use_certificate(THEIRS.identity.certificate)
    context.use_privatekey(THEIRS.identity.key)
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    context.set_options(SSL.OP_NO_QUERY_MTU)
    peer = SSL.Connection(context, None)
    peer.set_ciphertext_mtu(1200)
    peer.set_accept_state()
    for _ in range(6):
        for record in step(peer, client):
            client.receive(record, 0.0)
    assert client.failure == "no way to protect media in common"
    assert client.keys is None


def peer_with_a_large_certificate() -> tuple[SSL.Connection, Fingerprint]:
    key = rsa.generate_private_key(65_537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "peer")])
    names = x509.SubjectAlternativeName([x509.DNSName(f"host{n}.example.org") for n in range(80)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(3).not_valid_before(TODAY).not_valid_after(TODAY + datetime.timedelta(9))
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    context = SSL.Context(SSL.DTLS_METHOD)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    context.set_options(SSL.OP_NO_QUERY_MTU)
    context.set_tlsext_use_srtp(b"SRTP_AES128_CM_SHA1_80")
    peer = SSL.Connection(context, None)
    peer.set_ciphertext_mtu(600)
    digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
    return peer, Fingerprint("sha-256", digest)


def step(peer: SSL.Connection, ours: Dtls) -> list[bytes]:
    """Gives a plain OpenSSL peer what we say; returns the records that it says."""
    for data in ours.outgoing():
        peer.bio_write(data)
        try:
            peer.do_handshake()
        except SSL.WantReadError:
            pass
    try:
        stream = peer.bio_read(65_536)
    except SSL.WantReadError:
        return []
    records = []
    while stream:
        end = 13 + int.from_bytes(stream[11:13])
        records.append(stream[:end])
        stream = stream[end:]
    return records


def test_our_messages_are_cut_into_fragments() -> None:
    client, server = pair(mtu_bytes=300)
    sizes = talk(client, server)
    assert client.keys is not None
    assert max(sizes) <= 300


def test_a_peers_fragments_are_put_together_in_any_order() -> None:
    peer, fingerprint = peer_with_a_large_certificate()
    peer.set_accept_state()
    client = Dtls(OURS, "client", [fingerprint])
    client.start(0.0)
    sizes = []
    for _ in range(6):
        records = step(peer, client)
        for record in sorted(records, key=lambda item: item[3:11], reverse=True):
            sizes.append(len(record))
            client.receive(record, 0.0)
    assert max(sizes) <= 600
    assert len(sizes) > 7
    assert client.keys is not None
    assert client.keys.profile is SrtpProfile.AES128_CM_SHA1_80


@pytest.mark.integration
async def test_a_lost_flight_is_sent_again_when_openssl_says_so() -> None:
    client, server = pair()
    began = trio.current_time()
    lost = client.outgoing()
    with trio.fail_after(5):
        while not (again := client.outgoing()):
            at = client.deadline()
            assert at is not None
            await trio.sleep_until(began + at)
            client.expire(trio.current_time() - began)
    assert 0.5 < trio.current_time() - began < 3.0
    assert [len(data) for data in again] == [len(data) for data in lost]
    for data in again:
        server.receive(data, 1.0)
    talk(client, server)
    assert client.keys is not None


def test_before_openssls_own_timer_has_run_out_it_is_asked_again() -> None:
    client, _ = pair()
    client.outgoing()
    at = client.deadline()
    assert at is not None
    assert 0.5 < at <= 1.1
    client.expire(at)
    assert client.outgoing() == []
    later = client.deadline()
    assert later is not None
    assert later > at


def test_a_handshake_that_nobody_answers_ends_in_time() -> None:
    client, _ = pair()
    client.expire(HANDSHAKE_LIMIT_S)
    assert client.state is DtlsState.FAILED
    assert client.failure == "the handshake took too long"
    assert client.deadline() is None


def test_goodbye_is_said_and_heard() -> None:
    client, server = pair()
    talk(client, server)
    client.close()
    talk(client, server)
    assert (client.state, server.state) == (DtlsState.CLOSED, DtlsState.CLOSED)
    assert server.failure is None


def test_a_connection_that_is_new_or_over_takes_nothing() -> None:
    client, server = pair()
    talk(client, server)
    server.close()
    server.receive(b"\x17" * 30, 0.0)
    fresh = Dtls(OURS, "server", [])
    fresh.receive(b"\x16" * 30, 0.0)
    client.receive(bytes(5000), 0.0)
    client.receive(b"", 0.0)
    assert (server.dropped, fresh.dropped, client.dropped) == (1, 1, 2)


@given(st.lists(st.binary(min_size=1, max_size=100), max_size=5), st.booleans(), st.integers(0, 200))
@settings(max_examples=60, deadline=None)
def test_garbage_harms_no_handshake_and_no_connection(words: list[bytes], before: bool, at: int) -> None:
    client, server = pair()
    if not before:
        talk(client, server)
    header = b"\x16\xfe\xfd\0\0\0\0\0\0\0\x05"
    for word in words:
        server.receive(word, 0.0)
        server.receive(b"\x17\xfe\xfd\0\1\0\0\0\0\0\x09" + len(word).to_bytes(2) + word, 0.0)
        if not before:
            server.receive(header + len(word).to_bytes(2) + word, 0.0)
    talk(client, server)
    assert server.keys is not None
    assert server.state is DtlsState.CONNECTED


@given(st.binary(min_size=1, max_size=300))
@settings(max_examples=60, deadline=None)
def test_forged_handshake_messages_fail_it_at_most(word: bytes) -> None:
    _, server = pair()
    server.receive(b"\x16\xfe\xfd\0\0\0\0\0\0\0\0" + len(word).to_bytes(2) + word, 0.0)
    assert server.state in (DtlsState.HANDSHAKE, DtlsState.FAILED)
    assert server.keys is None


def test_nothing_without_encryption_or_a_certificate_is_on_offer() -> None:
    ciphers = SSL.Connection(OURS.openssl, None).get_cipher_list()
    dtls_1_2 = [name for name in ciphers if not name.startswith("TLS_")]
    assert dtls_1_2
    assert all(name.startswith(("ECDHE-ECDSA-", "ECDHE-RSA-")) for name in dtls_1_2)
    assert all("GCM" in name or "CHACHA20" in name for name in dtls_1_2)


@pytest.mark.parametrize("cipher", [b"AECDH-AES128-SHA:@SECLEVEL=0", b"NULL-SHA256:eNULL:@SECLEVEL=0"])
def test_a_peer_that_wants_no_encryption_or_no_certificate_is_refused(cipher: bytes) -> None:
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_cipher_list(cipher)
    context.set_options(SSL.OP_NO_QUERY_MTU)
    peer = SSL.Connection(context, None)
    peer.set_ciphertext_mtu(1200)
    peer.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        peer.do_handshake()
    server = Dtls(OURS, "server", [THEIRS.identity.fingerprint])
    server.start(0.0)
    for record in step(peer, server):
        server.receive(record, 0.0)
    assert server.state is DtlsState.FAILED
    assert server.keys is None
