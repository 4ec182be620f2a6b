from __future__ import annotations

import struct

from bench.cases import SpeakersCase
from bench.codecs import Speaker
from bench.load.speakers import SpeakerSender
from bench.speakers import speakers_of


class Wire:
    """A socket that keeps what is sent."""

    def __init__(self) -> None:
        self.packets: list[tuple[int, int, int, int]] = []

    def send(self, packet: bytes) -> None:
        _, payload_type, sequence, stamp, _ = struct.unpack_from("!BBHII", packet)
        self.packets.append((payload_type, sequence, stamp, len(packet) - 12))


def test_each_caller_sends_at_its_own_pace() -> None:
    speakers = [Speaker("PCMU", 10), Speaker("PCMA", 30), Speaker("G722", 40), Speaker("opus", 20)]
    wires = [Wire() for _ in speakers]
    sender = SpeakerSender(wires, 4000.0, speakers)  # type: ignore[arg-type]  # all that it needs of a socket
    sender.talking[:] = True
    for batch in range(120):
        sender.send_batch(batch)
    assert sender.sent.tolist() == [12, 4, 3, 6]
    for wire, step in zip(wires, (80, 240, 320, 960), strict=True):
        (_, first, begun, _), (_, second, next_, _) = wire.packets[:2]
        assert (second - first) & 0xFFFF == 1
        assert (next_ - begun) & 0xFFFF_FFFF == step


def test_time_goes_on_while_a_caller_pauses() -> None:
    wire = Wire()
    sender = SpeakerSender([wire], 0.0, [Speaker("opus", sound="pause")])  # type: ignore[list-item]  # as above
    sender.talk(0, True)
    for batch in range(400):
        sender.send_batch(batch)
    (_, first, begun, size), (_, second, next_, _) = wire.packets
    assert ((second - first) & 0xFFFF, (next_ - begun) & 0xFFFF_FFFF, size) == (1, 9600, 1)


def test_the_first_legs_of_a_room_talk() -> None:
    case = SpeakersCase("few", 5, "opus", talkers=2, listeners="pause")
    assert [speaker.sound for speaker in speakers_of(case)] == ["tone", "tone", "pause", "pause", "pause"]
