"""Packets protected and unprotected in rows, against pylibsrtp's own sessions and against damage."""

import random
import struct

import numpy as np
import pylibsrtp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vb.webrtc import srtp
from vb.webrtc.dtls import PROFILES, SrtpKeys, SrtpProfile
from vb.webrtc.srtp import MAX_SOURCES, Rows, Srtp, protect_rows, unprotect_rows

GCM = SrtpProfile.AEAD_AES_128_GCM
THEIR_PROFILES = {
    SrtpProfile.AEAD_AES_128_GCM: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    SrtpProfile.AEAD_AES_256_GCM: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    SrtpProfile.AES128_CM_SHA1_80: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    SrtpProfile.AES128_CM_SHA1_32: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
}


def keys(profile: SrtpProfile = GCM, *, swapped: bool = False, seed: int = 1) -> SrtpKeys:
    size = profile.key_bytes + profile.salt_bytes
    one, other = (
        bytes((seed + n) % 256 for n in range(size)),
        bytes((seed + 99 + n) % 256 for n in range(size)),
    )
    return SrtpKeys(profile, other, one) if swapped else SrtpKeys(profile, one, other)


def rtp(sequence: int, ssrc: int = 0x11223344, payload: bytes = b"voice" * 20) -> bytes:
    return struct.pack("!BBHII", 0x80, 111, sequence, sequence * 960, ssrc) + payload


def placed(packets: list[bytes], pitch: int = 1500) -> tuple[Rows, NDArray[np.int64]]:
    array = np.zeros((max(len(packets), 1), pitch), np.uint8)
    for row, packet in zip(array, packets, strict=False):
        row[: len(packet)] = np.frombuffer(packet, np.uint8)
    return Rows(array), np.array([len(packet) for packet in packets], np.int64)


def taken(rows: Rows, lengths: NDArray[np.int64]) -> list[bytes]:
    return [rows.array[row, :length].tobytes() for row, length in enumerate(lengths.tolist())]


def protected(session: Srtp, packets: list[bytes]) -> list[bytes]:
    rows, lengths = placed(packets)
    protect_rows([session] * len(packets), rows, range(len(packets)), lengths)
    return taken(rows, lengths)


def unprotected(session: Srtp, packets: list[bytes]) -> list[bytes]:
    rows, lengths = placed(packets)
    unprotect_rows([session] * len(packets), rows, range(len(packets)), lengths)
    return taken(rows, lengths)


def their_session(key: bytes, profile: SrtpProfile, kind: int) -> pylibsrtp.Session:
    return pylibsrtp.Session(pylibsrtp.Policy(key=key, ssrc_type=kind, srtp_profile=THEIR_PROFILES[profile]))


@pytest.mark.parametrize("profile", PROFILES)
def test_what_we_protect_pylibsrtp_reads_and_the_other_way_round(profile: SrtpProfile) -> None:
    ours = Srtp(keys(profile))
    reads = their_session(keys(profile).send, profile, pylibsrtp.Policy.SSRC_ANY_INBOUND)
    writes = their_session(keys(profile).receive, profile, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
    packets = [rtp(n) for n in range(5)]
    for packet, secured in zip(packets, protected(ours, packets), strict=True):
        assert reads.unprotect(secured) == packet
        assert packet[12:] not in secured
    assert unprotected(ours, [writes.protect(packet) for packet in packets]) == packets
    report = struct.pack("!BBHI", 0x80, 201, 1, 7)
    assert reads.unprotect_rtcp(ours.protect_rtcp(report) or b"") == report
    assert ours.unprotect_rtcp(writes.protect_rtcp(report)) == report
    assert ours.counts == srtp.SrtpCounts()


def test_the_vector_of_aes_cm_and_hmac_sha1_is_reproduced() -> None:
    key = bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE41390EC675AD498AFEEBB6960B3AABE6")
    secured = bytes.fromhex("800F1234DECAFBADCAFEBABE4E55DC4CE79978D88CA4D215949D2402B78D6ACC99EA179B8DBB")
    plain = bytes.fromhex("800F1234DECAFBADCAFEBABE") + b"\xab" * 16
    session = Srtp(SrtpKeys(SrtpProfile.AES128_CM_SHA1_80, key, key))
    assert protected(session, [plain]) == [secured]
    assert unprotected(session, [secured]) == [plain]


def test_rows_of_several_legs_and_of_none_are_handled_in_one_call() -> None:
    one, other = Srtp(keys(seed=1)), Srtp(keys(seed=50))
    packets = [rtp(1), rtp(2), rtp(3)]
    rows, lengths = placed([b"", *packets])
    chosen = lengths[1:].copy()
    protect_rows([one, None, other], rows, [1, 2, 3], chosen)
    assert chosen.tolist() == [len(packets[0]) + 16, len(packets[1]), len(packets[2]) + 16]
    unprotect_rows(
        [Srtp(keys(seed=1, swapped=True)), None, Srtp(keys(seed=50, swapped=True))], rows, [1, 2, 3], chosen
    )
    assert taken(rows, np.array([0, *chosen.tolist()])) == [b"", *packets]


def test_batches_of_many_legs_are_read_and_written_as_pylibsrtp_does_one_by_one() -> None:
    rng = random.Random(1)
    legs = [(PROFILES[number % len(PROFILES)], number) for number in range(24)]
    ours = [Srtp(keys(profile, seed=seed)) for profile, seed in legs]
    reads = [
        their_session(keys(profile, seed=seed).send, profile, pylibsrtp.Policy.SSRC_ANY_INBOUND)
        for profile, seed in legs
    ]
    writes = [
        their_session(keys(profile, seed=seed).receive, profile, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        for profile, seed in legs
    ]
    for turn in range(5):
        order = rng.sample(range(24), 20)
        packets = [rtp(turn, ssrc=leg, payload=rng.randbytes(rng.randrange(1, 400))) for leg in order]
        rows, lengths = placed([b"", *packets])
        sent = lengths[1:].copy()
        protect_rows([ours[leg] for leg in order], rows, range(1, 21), sent)
        secured = taken(rows, np.array([0, *sent.tolist()]))[1:]
        assert [reads[leg].unprotect(data) for leg, data in zip(order, secured, strict=True)] == packets
        rows, lengths = placed(
            [writes[leg].protect(packet) for leg, packet in zip(order, packets, strict=True)]
        )
        unprotect_rows([ours[leg] for leg in order], rows, range(20), lengths)
        assert taken(rows, lengths) == packets
    assert all(session.counts == srtp.SrtpCounts() for session in ours)


@pytest.mark.parametrize("profile", PROFILES)
def test_refused_rows_count_at_their_legs_and_leave_the_others_whole(profile: SrtpProfile) -> None:
    one, other = Srtp(keys(profile)), Srtp(keys(profile, seed=50))
    first, second = protected(Srtp(keys(profile, swapped=True)), [rtp(1), rtp(2)])
    (third,) = protected(Srtp(keys(profile, swapped=True, seed=50)), [rtp(3)])
    changed = bytes([*second[:-1], second[-1] ^ 1])
    rows, lengths = placed([first, first, changed, first[:13], third, third[:-1], second])
    unprotect_rows([one, one, one, one, other, other, one], rows, range(7), lengths)
    assert taken(rows, lengths) == [rtp(1), b"", b"", b"", rtp(3), b"", rtp(2)]
    assert one.counts == srtp.SrtpCounts(malformed=1, unauthentic=1, replayed=1)
    assert other.counts.malformed + other.counts.unauthentic + other.counts.replayed == 1


def test_rows_behind_those_of_a_batch_stay_as_they_are() -> None:
    ours = Srtp(keys())
    rows, lengths = placed([rtp(1), rtp(2), rtp(3)])
    rows.array[:, 200:] = 0xEE
    protect_rows([ours], rows, [1], lengths[1:2])
    assert rows.array[0, : lengths[0]].tobytes() == rtp(1)
    assert rows.array[2, : lengths[2]].tobytes() == rtp(3)
    assert (rows.array[:, 200:] == 0xEE).all()


def test_replays_are_refused_and_counted() -> None:
    ours, theirs = Srtp(keys()), Srtp(keys(swapped=True))
    secured = protected(theirs, [rtp(n) for n in range(3000)])
    assert unprotected(ours, [secured[2999], secured[2999], secured[0]]) == [rtp(2999), b"", b""]
    assert ours.counts.replayed == 2


def test_a_wrong_key_and_a_changed_packet_are_refused_and_counted() -> None:
    ours = Srtp(keys())
    strange = protected(Srtp(keys(seed=9)), [rtp(1)])
    (good,) = protected(Srtp(keys(swapped=True)), [rtp(1)])
    changed = bytearray(good)
    changed[20] ^= 1
    assert unprotected(ours, [*strange, bytes(changed)]) == [b"", b""]
    assert ours.counts.unauthentic == 2
    assert unprotected(ours, [good]) == [rtp(1)]


def test_packets_that_are_cut_off_are_refused_at_every_length() -> None:
    for profile in PROFILES:
        ours = Srtp(keys(profile))
        (good,) = protected(Srtp(keys(profile, swapped=True)), [b"\x9f" + rtp(1)[1:] + bytes(200)])
        report = Srtp(keys(profile, swapped=True)).protect_rtcp(struct.pack("!BBHI", 0x80, 201, 1, 7)) or b""
        assert not any(unprotected(ours, [good[:size]])[0] for size in range(len(good)))
        assert not any(ours.unprotect_rtcp(report[:size]) for size in range(len(report)))
        assert ours.unprotect_rtcp(bytes(5000)) is None
        counts = ours.counts
        assert counts.malformed + counts.unauthentic == len(good) + len(report) + 1
        assert ours.unprotect_rtcp(report) is not None


def test_a_packet_without_room_for_its_tag_is_not_sent() -> None:
    ours = Srtp(keys())
    rows, lengths = placed([rtp(1), rtp(2)[:8]], pitch=120)
    protect_rows([ours, ours], rows, [0, 1], lengths)
    assert lengths.tolist() == [0, 0]
    assert ours.protect_rtcp(b"\x80\xc9") is None
    assert ours.protect_rtcp(bytes(3000)) is None
    assert ours.counts.unsent == 4


def test_one_number_is_never_protected_twice() -> None:
    ours = Srtp(keys())
    first, second = protected(ours, [rtp(5), rtp(5, payload=b"other")])
    assert first
    assert second == b""
    assert ours.counts.unsent == 1


def test_a_peer_that_invents_sources_has_its_oldest_forgotten() -> None:
    ours, theirs = Srtp(keys()), Srtp(keys(swapped=True))
    for ssrc in range(100):
        (secured,) = protected(theirs, [rtp(1, ssrc)])
        assert unprotected(ours, [secured]) == [rtp(1, ssrc)]
    assert len(ours._sources) == MAX_SOURCES
    (newest,) = protected(Srtp(keys(swapped=True)), [rtp(1, 99)])
    assert unprotected(ours, [newest]) == [b""]
    assert ours.counts.replayed == 1


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(100, np.uint8),
        np.zeros((4, 100), np.int16),
        np.zeros((4, 200), np.uint8)[:, ::2],
        np.zeros((4, 101), np.uint8),
    ],
)
def test_arrays_of_another_form_are_no_rows(array: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="rows need"):
        Rows(array)


def test_keys_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="28 bytes"):
        Srtp(SrtpKeys(GCM, bytes(28), bytes(30)))


@given(st.lists(st.binary(max_size=120), min_size=1, max_size=8), st.sampled_from(PROFILES))
@settings(max_examples=100, deadline=None)
def test_whatever_arrives_is_counted_and_nothing_else(packets: list[bytes], profile: SrtpProfile) -> None:
    ours = Srtp(keys(profile))
    assert not any(unprotected(ours, packets))
    assert not any(ours.unprotect_rtcp(packet) for packet in packets)
    counts = ours.counts
    assert counts.malformed + counts.unauthentic + counts.replayed == 2 * len(packets)
    (good,) = protected(Srtp(keys(profile, swapped=True)), [rtp(1)])
    assert unprotected(ours, [good]) == [rtp(1)]


def test_a_direction_whose_key_stays_goes_on_counting_when_the_other_gets_a_new_one() -> None:
    ours, theirs = Srtp(keys()), Srtp(keys(swapped=True))
    first = [rtp(65_534), rtp(65_535), rtp(0), rtp(1)]
    assert unprotected(theirs, protected(ours, first)) == first
    old, new = keys(), keys(seed=7)
    ours.rekey(SrtpKeys(GCM, old.send, new.receive))
    assert unprotected(theirs, protected(ours, [rtp(2)])) == [rtp(2)]
    theirs.rekey(SrtpKeys(GCM, new.receive, old.send))
    assert unprotected(theirs, protected(ours, [rtp(3)])) == [rtp(3)]
    assert unprotected(ours, protected(theirs, [rtp(9)])) == [rtp(9)]


def test_packets_under_the_old_key_are_refused_after_a_new_one() -> None:
    ours, theirs = Srtp(keys()), Srtp(keys(swapped=True))
    late = protected(ours, [rtp(1)])
    theirs.rekey(keys(SrtpProfile.AES128_CM_SHA1_80, swapped=True))
    assert unprotected(theirs, late) == [b""]
    ours.rekey(keys(SrtpProfile.AES128_CM_SHA1_80))
    assert unprotected(theirs, protected(ours, [rtp(1)])) == [rtp(1)]


def one_by_one(session: Srtp, packet: bytes, *, outgoing: bool, room: int = 1500) -> bytes:
    memory = np.zeros(room, np.uint8)
    memory[: len(packet)] = np.frombuffer(packet, np.uint8)
    work = session.protect if outgoing else session.unprotect
    return memory[: work(memory.data, len(packet))].tobytes()


@pytest.mark.parametrize("profile", PROFILES)
def test_single_packets_are_worked_on_in_place_as_rows_are(profile: SrtpProfile) -> None:
    ours, theirs = Srtp(keys(profile)), Srtp(keys(profile, swapped=True))
    sent = [one_by_one(ours, rtp(n), outgoing=True) for n in range(3)]
    assert sent == protected(Srtp(keys(profile)), [rtp(n) for n in range(3)])
    assert [one_by_one(theirs, packet, outgoing=False) for packet in sent] == [rtp(n) for n in range(3)]
    assert ours.counts == theirs.counts == srtp.SrtpCounts()


def test_single_packets_that_cannot_be_worked_on_are_counted() -> None:
    ours, theirs = Srtp(keys()), Srtp(keys(swapped=True))
    sent = one_by_one(ours, rtp(1), outgoing=True)
    changed = sent[:-1] + bytes([sent[-1] ^ 1])
    for packet in (sent, sent, changed, sent[:20], b""):
        one_by_one(theirs, packet, outgoing=False)
    assert theirs.counts == srtp.SrtpCounts(malformed=2, unauthentic=0, replayed=2)
    assert one_by_one(ours, rtp(2), outgoing=True, room=len(rtp(2)) + 19) == b""
    assert one_by_one(ours, b"short", outgoing=True) == b""
    assert ours.counts.unsent == 2
