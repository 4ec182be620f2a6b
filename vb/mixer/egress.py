"""From what legs hear to packets on the wire: the sending half of a tick (media rule 9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.codecs import g711
from vb.codecs.complexity import LEAN, LOWEST_MENDING
from vb.mixer.columns import HEADER_BYTES, MAX_PACKET_BYTES
from vb.mixer.core import PlaneCore
from vb.mixer.facts import TABLES, PortFacts
from vb.mixer.frames import Pcm, Slots
from vb.mixer.framewise import Framed, Framewise
from vb.mixer.hands import LEAST_CALLS
from vb.mixer.layout import Bank, Layout
from vb.mixer.packetizer import Packetizer, Payload
from vb.mixer.port import RtpPort
from vb.rtp.dtmf import TelephoneEventSender
from vb.rtp.masks import every, some, true_places

_TABLED_BYTES: Final = 160
_TABLES: Final = {"PCMU": g711.PCM_TO_ULAW, "PCMA": g711.PCM_TO_ALAW}
_MARKER: Final = 0x80


class _Recipients:
    """Legs whose packets are built at once: headers as columns, each in its own buffer.

    Args:
        core: the plane.
        slots: the legs.
    """

    def __init__(self, core: PlaneCore, slots: Slots) -> None:
        self.slots = slots
        self.slot_list: list[int] = slots.tolist()
        self._columns = core.columns
        self._size = 0
        self._packets: list[memoryview] = []

    def packets(self, size: int) -> list[memoryview]:
        """Return the first so many bytes of every leg's buffer."""
        if size != self._size:
            self._packets = self._columns.packet_views(self.slot_list, size)
            self._size = size
        return self._packets


class _TableGroup:
    """Legs of a bank that are sent one table look-up per tick."""

    def __init__(self, core: PlaneCore, table: NDArray[np.uint8], rows: Slots, slots: Slots) -> None:
        self.table = table
        self.rows = rows
        self.recipients = _Recipients(core, slots)
        self.own: Slots | None = None
        self.of_leg: Slots | None = None

    def follow(self, source: Slots) -> None:
        """Take note of who is sent what another one hears."""
        sources = source[self.rows]
        if every(sources == self.rows):
            self.own = self.of_leg = None
        else:
            self.own, self.of_leg = np.unique(sources, return_inverse=True)


@dataclass(slots=True)
class _Coded:
    """A frame that is encoded by itself, for one leg or for a leader and its followers."""

    port: RtpPort
    packetizer: Packetizer | None
    frame: Pcm
    recipients: _Recipients | None


class _Bank:
    """What is sent to the legs of one bank.

    Attributes:
        tabled: legs that are coded by table.
        single: rows of the others, each with its port.
        led: leaders of them, each with its row and all who are sent its payloads.
        alone: those who are encoded by themselves, with the row of what they hear.
        framewise: those of them that are encoded together, if there are any.
        rest: all others of them.
    """

    def __init__(self, core: PlaneCore, bank: Bank) -> None:
        self.bank = bank
        self.tabled: list[_TableGroup] = []
        self.single: list[tuple[int, RtpPort]] = []
        self.led: list[tuple[int, RtpPort, _Recipients]] = []
        self.alone: list[tuple[int, RtpPort]] = self.single
        self.framewise: Framewise | None = None
        self.rest: list[tuple[int, RtpPort]] = self.single
        self.version = 0
        self._core = core

    def follow(self) -> None:
        """Sort the legs anew after the sources of the bank have changed."""
        self.version = self.bank.version
        source = self.bank.source
        for group in self.tabled:
            group.follow(source)
        families: dict[int, list[int]] = {}
        for row, port in self.single:
            if source[row] != row and self._is_sent_what_it_follows(port):
                families.setdefault(int(source[row]), []).append(port.slot)
        self.led, self.alone = [], []
        for row, port in self.single:
            if row in families:
                self.led.append(
                    (row, port, _Recipients(self._core, np.array([port.slot, *families[row]], np.int64)))
                )
            elif source[row] == row or not self._is_sent_what_it_follows(port):
                self.alone.append((int(source[row]), port))
        self.part()

    def part(self) -> None:
        """Tell those who are alone apart by whether they can be encoded together."""
        framed: list[Framed] = []
        self.framewise, self.rest = None, self.alone
        if len(self.alone) < LEAST_CALLS:
            return
        rest: list[tuple[int, RtpPort]] = []
        for row, port in self.alone:
            packetizer = self._core.packetizers[port.slot]
            encoder = None if packetizer is None or port.dialling else packetizer.frame_encoder
            if encoder is None:
                rest.append((row, port))
            else:
                framed.append(Framed(row, port, encoder))
        if len(framed) >= LEAST_CALLS:
            self.framewise, self.rest = Framewise(self._core, framed, self.bank.told), rest

    def _is_sent_what_it_follows(self, port: RtpPort) -> bool:
        packetizer = self._core.packetizers[port.slot]
        return packetizer is not None and packetizer.copyable


class Egress:
    """Sends each tick's packets.

    Args:
        core: the plane.
        facts: of its ports.
    """

    def __init__(self, core: PlaneCore, facts: PortFacts) -> None:
        self._core = core
        self._facts = facts
        packets = core.columns.packets
        self._sequence = packets[:, 2:4].view(">u2")[:, 0]
        self._timestamp = packets[:, 4:8].view(">u4")[:, 0]
        self._banks: list[_Bank] = []

    def adopt(self, layout: Layout) -> None:
        """Work out who is sent what."""
        facts = self._facts
        sending: list[Slots] = []
        self._banks = []
        for bank in layout.banks:
            sent = _Bank(self._core, bank)
            rows = true_places(facts.transmitting[bank.slots])
            slots = bank.slots[rows]
            sending.append(slots)
            single = facts.single[slots]
            for row, slot in zip(rows[single].tolist(), slots[single].tolist(), strict=True):
                port = self._core.ports[slot]
                if isinstance(port, RtpPort):
                    sent.single.append((row, port))
            rows, slots = rows[~single], slots[~single]
            tables = facts.table[slots]
            for place, name in enumerate(TABLES):
                coded = tables == place
                if some(coded):
                    sent.tabled.append(_TableGroup(self._core, _TABLES[name], rows[coded], slots[coded]))
            sent.part()
            self._banks.append(sent)
        self._mark_resumed(sending)

    def _mark_resumed(self, sending: list[Slots]) -> None:
        """Set the marker on the first packet after a pause."""
        columns = self._core.columns
        now = np.zeros(columns.capacity, np.bool_)
        for slots in sending:
            now[slots] = True
        columns.marker |= now & ~columns.sending
        columns.sending = now

    def send(self) -> None:
        """Encode and send what every leg hears in this tick."""
        columns = self._core.columns
        coded: list[_Coded] = []
        framewise: list[Framewise] = []
        settled = not self._core.dirty  # what has changed in this tick is looked at leg by leg
        for sent in self._banks:
            told = sent.bank.told
            if sent.version != sent.bank.version:
                sent.follow()
            for group in sent.tabled:
                self._send_group(told, group)
            for row, port, recipients in sent.led:
                self._code(coded, port, told[row], recipients)
            for row, port in sent.rest if settled else sent.alone:
                self._code(coded, port, told[row], None)
            if settled and sent.framewise is not None:
                framewise.append(sent.framewise)
        if coded or framewise:
            self._send_coded(coded, framewise)
        # Timestamps advance with time, whether or not anything was sent.
        columns.timestamp += columns.step

    def skip(self, ticks: int) -> None:
        """Let time pass without packets; the next ones are marked."""
        columns = self._core.columns
        columns.timestamp += columns.step * np.uint32(ticks)
        columns.marker |= columns.sending

    def _send_group(self, told: Pcm, group: _TableGroup) -> None:
        rows = group.rows if group.own is None else group.own
        heard = told if rows.size == told.shape[0] else told[rows]
        codes = group.table.take(heard.view(np.uint16))
        if group.of_leg is not None:
            codes = codes[group.of_leg]
        recipients = group.recipients
        columns = self._core.columns
        columns.packets[recipients.slots, HEADER_BYTES : HEADER_BYTES + _TABLED_BYTES] = codes
        self._transmit_all(recipients, _TABLED_BYTES, columns.timestamp[recipients.slots])

    def _code(self, coded: list[_Coded], port: RtpPort, frame: Pcm, recipients: _Recipients | None) -> None:
        """Add a leg's frame to those that are to be encoded, unless a digit takes its place."""
        core = self._core
        packetizer = core.packetizers[port.slot]
        if port.faulted or port.closed:
            return
        if recipients is not None:
            if packetizer is not None:
                coded.append(_Coded(port, packetizer, frame, recipients))
            return
        if port.digits is not None and port.digits.active:
            if packetizer is not None:
                packetizer.pause()
            self._send_event(port, port.digits, int(core.columns.timestamp[port.slot]))
            return
        if port.digit_tones.active:
            frame = self._tone(port)
        coded.append(_Coded(port, packetizer, frame, None))

    def _send_coded(self, coded: list[_Coded], framewise: list[Framewise]) -> None:
        """Encode frames, by all hands, and send what comes of them."""
        core, levels = self._core, self._levels(coded)
        pieces = [(legs, start, stop) for legs in framewise for start, stop in legs.portions]
        for legs in framewise:
            legs.begin(core.complexity.level)
        outcomes: list[list[Payload] | Exception] = [[]] * len(coded)

        def encode(piece: int) -> None:
            if piece >= len(coded):
                legs, start, stop = pieces[piece - len(coded)]
                legs.encode(start, stop)
                return
            one = coded[piece]
            try:
                if one.packetizer is None:
                    outcomes[piece] = _tabled(one.port, one.frame)
                    return
                one.packetizer.set_complexity(levels[piece])
                outcomes[piece] = one.packetizer.push(one.frame)
            except Exception as error:  # the named boundary: one leg's codec must not stop the tick
                outcomes[piece] = error

        core.hands.share(len(coded) + len(pieces), encode)
        alone: list[tuple[int, bytes]] = []
        led: list[tuple[list[int], int]] = []
        for one, outcome in zip(coded, outcomes, strict=True):
            if isinstance(outcome, Exception):
                core.fault(one.port, outcome)
                continue
            whole = len(outcome) == 1 and not outcome[0].ticks_ago
            if one.recipients is None:
                if whole:
                    alone.append((one.port.slot, outcome[0].data))
                else:
                    self._send_parts(one, outcome)
            elif whole and core.transforms:
                led.append((one.recipients.slot_list, self._put(outcome[0].data, one.recipients)))
            else:
                self._send_led(one, outcome, one.recipients)
        if alone or led:
            self._send_together(alone, led)
        for legs in framewise:
            self._send_framed(legs)

    def _send_framed(self, legs: Framewise) -> None:
        """Send a packet on each of some legs whose frames are encoded."""
        slots, slot_list, sizes = legs.slots, legs.slot_list, legs.sizes
        failed = [place for place, size in enumerate(sizes) if size < 0]
        if failed:
            for place in failed:
                self._core.fault(legs.ports[place], legs.error(place))
            slot_list = [slot for slot, size in zip(slot_list, sizes, strict=True) if size >= 0]
            slots, sizes = np.array(slot_list, np.int64), [size for size in sizes if size >= 0]
        if slot_list:
            self._send_placed(slots, slot_list, sizes)

    def _levels(self, coded: list[_Coded]) -> list[int]:
        """Return how much work goes into each frame: where packets get lost, enough to mend some."""
        level, columns = self._core.complexity.level, self._core.columns
        lossy = columns.lossy
        if level != LEAN or not some(lossy[: columns.reach]):
            return [level] * len(coded)
        sent_to = ([one.port.slot] if one.recipients is None else one.recipients.slots for one in coded)
        return [LOWEST_MENDING if some(lossy[slots]) else level for slots in sent_to]

    def _send_led(self, one: _Coded, payloads: list[Payload], recipients: _Recipients) -> None:
        """Send what a leader is sent to all who follow it."""
        columns = self._core.columns
        for payload in payloads:
            size = self._put(payload.data, recipients)
            offset = _begins(one, payload) & 0xFFFF_FFFF
            self._transmit_all(recipients, size, columns.timestamp[recipients.slots] + np.uint32(offset))

    def _put(self, data: bytes, recipients: _Recipients) -> int:
        """Put a payload into the packet of every leg that is sent it; returns its size."""
        size = len(data)
        code = np.frombuffer(data, np.uint8)
        self._core.columns.packets[recipients.slots, HEADER_BYTES : HEADER_BYTES + size] = code
        return size

    def _send_together(self, alone: list[tuple[int, bytes]], led: list[tuple[list[int], int]]) -> None:
        """Send one packet on each of some legs, whose payloads all begin with this tick.

        Where packets are protected their buffers differ in size with each tick, so that nothing is gained by
        sending those of a leader by themselves, and a pass through all that is done to packets is saved.

        Args:
            alone: legs, each with its own payload.
            led: legs with the same payload, which is in place, and its size.
        """
        whole = self._core.columns.packets.reshape(-1).data
        slots, sizes = [slot for slot, _ in alone], [len(data) for _, data in alone]
        for slot, data in alone:
            start = slot * MAX_PACKET_BYTES + HEADER_BYTES
            whole[start : start + len(data)] = data
        for members, size in led:
            slots += members
            sizes += [size] * len(members)
        self._send_placed(np.array(slots), slots, sizes)

    def _send_placed(self, slots: Slots, slot_list: list[int], sizes: list[int]) -> None:
        """Send one packet on each of some legs, each payload being in place, of its own size."""
        columns = self._core.columns
        sequence = self._begin(slots, columns.timestamp[slots])
        self._hand_over(slot_list, [HEADER_BYTES + size for size in sizes])
        columns.sequence[slots] = sequence + np.uint16(1)
        columns.sent_packets[slots] += 1
        columns.sent_octets[slots] += np.array(sizes)
        self._core.statistics.packets_out += slots.size

    def _send_parts(self, one: _Coded, payloads: list[Payload]) -> None:
        """Send one leg's packets of this tick: none, two of 10 ms, or one that began before it."""
        columns, slot = self._core.columns, one.port.slot
        timestamp, payload_type = int(columns.timestamp[slot]), int(columns.payload_type[slot])
        for payload in payloads:
            begun = timestamp + _begins(one, payload)
            marker = bool(columns.marker[slot])
            self._transmit(slot, payload_type, begun & 0xFFFF_FFFF, payload.data, marker=marker)
            columns.marker[slot] = False

    def _transmit_all(self, recipients: _Recipients, size: int, timestamps: NDArray[np.uint32]) -> None:
        """Send one packet on each of some legs, its payload of `size` bytes being in place."""
        columns, slots = self._core.columns, recipients.slots
        sequence = self._begin(slots, timestamps)
        self._hand_over(recipients.slot_list, HEADER_BYTES + size, recipients)
        columns.sequence[slots] = sequence + np.uint16(1)
        columns.sent_packets[slots] += 1
        columns.sent_octets[slots] += size
        self._core.statistics.packets_out += slots.size

    def _begin(self, slots: Slots, timestamps: NDArray[np.uint32]) -> NDArray[np.uint16]:
        """Write the headers of a packet on each of some legs; return their numbers."""
        columns = self._core.columns
        sequence, marker = columns.sequence[slots], columns.marker[slots]
        types = columns.payload_type[slots]
        if some(marker):
            types = np.where(marker, types | _MARKER, types)
            columns.marker[slots] = False
        columns.packets[slots, 1] = types
        self._sequence[slots] = sequence
        self._timestamp[slots] = timestamps
        return sequence

    def _hand_over(
        self, slots: list[int], size: int | list[int], recipients: _Recipients | None = None
    ) -> None:
        """Give finished packets to the sockets, all of one size or each of its own.

        Args:
            slots: the legs.
            size: of all packets, or of each.
            recipients: these legs, where they are the same in every tick.
        """
        core = self._core
        if core.transforms:
            core.io.send(*core.transforms.send(slots, size))
        elif recipients is not None and isinstance(size, int):
            core.io.send(slots, recipients.packets(size))
        else:
            core.io.send(slots, core.columns.packet_views(slots, size))

    def _tone(self, port: RtpPort) -> Pcm:
        """Return 20 ms of the digits that go out as tones."""
        frame = port.digit_tones.take(port.rate_hz)
        if not port.digit_tones.active:
            self._core.touch(port.slot)
        return frame

    def _send_event(self, port: RtpPort, digits: TelephoneEventSender, timestamp: int) -> None:
        """Send a telephone-event's packet of this tick, if it has one."""
        event = digits.tick(timestamp)
        agreed = port.agreed
        if event is not None and agreed is not None and agreed.telephone_event_send is not None:
            payload_type = agreed.telephone_event_send[0]
            self._transmit(port.slot, payload_type, event.timestamp, event.payload, marker=event.marker)
        if not digits.active:
            self._core.columns.marker[port.slot] = True
            self._core.touch(port.slot)

    def _transmit(
        self, slot: int, payload_type: int, timestamp: int, payload: bytes, *, marker: bool
    ) -> None:
        columns = self._core.columns
        size = HEADER_BYTES + len(payload)
        packet = columns.packets[slot]
        packet[1] = payload_type | (_MARKER if marker else 0)
        self._sequence[slot] = columns.sequence[slot]
        self._timestamp[slot] = timestamp
        packet[HEADER_BYTES:size] = np.frombuffer(payload, np.uint8)
        self._hand_over([slot], size)
        columns.sequence[slot] = (int(columns.sequence[slot]) + 1) & 0xFFFF
        columns.sent_packets[slot] += 1
        columns.sent_octets[slot] += len(payload)
        self._core.statistics.packets_out += 1


def _begins(one: _Coded, payload: Payload) -> int:
    """Return the RTP time of a payload's first sample less that of this tick."""
    return 0 if one.packetizer is None else one.packetizer.begins(payload)


def _tabled(port: RtpPort, frame: Pcm) -> list[Payload]:
    """Return the payload of a leg whose codec is a table, sent on its own."""
    agreed = port.agreed
    if agreed is None:
        return []
    return [Payload(_TABLES[agreed.send_codec.name].take(frame.view(np.uint16)).tobytes(), 0, 0)]
