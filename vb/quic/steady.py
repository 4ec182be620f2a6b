"""A connection's short way for what it does fifty times a second: pieces of known streams, and acknowledgements.

aioquic handles any packet in any state, and looks at everything for each: a connection that only carries audio
spends most of its time there. While nothing else is going on, packets that hold nothing else are read and
written here, on the same state and by the same rules; whatever is out of the ordinary goes the long way, which
is aioquic's own. `tests/quic/test_steady.py` holds both ways against each other.

Spec: RFC 9000, RFC 9001, RFC 9002.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from aioquic import tls
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import NetworkAddress, QuicConnectionState
from aioquic.quic.crypto import CryptoContext, CryptoError, CryptoPair
from aioquic.quic.events import StreamDataReceived
from aioquic.quic.packet import QuicPacketType, decode_packet_number
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.quic.rangeset import RangeSet
from aioquic.quic.recovery import MAX_ACK_RANGES, QuicPacketRecovery, QuicPacketSpace
from aioquic.quic.stream import QuicStream

from vb.quic.bounds import WINDOW_BYTES, BoundedQuic
from vb.quic.invariants import CONNECTION_ID_BYTES
from vb.quic.varint import varint

ACK_DELAY_S: Final = 0.02
"""So long an acknowledgement waits for something to leave with; 25 ms are promised, and timers may be late."""
_NUMBER_AT: Final = 1 + CONNECTION_ID_BYTES
_SAMPLE_AT: Final = _NUMBER_AT + 4
_SAMPLE_BYTES: Final = 16
_SENT_NUMBER_BYTES: Final = 2
_TAG_BYTES: Final = 16
_FORM_BITS: Final = 0xC0
_SHORT: Final = 0x40
_SPIN: Final = 0x20
_RESERVED_BITS: Final = 0x18
_KEY_PHASE: Final = 0x04
_MASKED_BITS: Final = 0x1F
_PADDING, _PING, _ACK = 0x00, 0x01, 0x02
_STREAM: Final = 0x08
_FIN, _LENGTH, _OFFSET = 0x01, 0x02, 0x04
_MAX_RANGES: Final = 8
"""Gaps in what has come that an acknowledgement may tell of here."""
_HEADS_BYTES: Final = 160
"""More than the header, the tag, an acknowledgement and the head of a piece take."""
_ACK_DELAY_EXPONENT: Final = 3

_Handler = tuple[Callable[..., None], Any]


class _Recovery(QuicPacketRecovery):
    """Loss recovery that says whether something was lost, and is quick to find that nothing was.

    Attributes:
        has_lost: whether something was lost since this was last set to False.
    """

    has_lost = False

    def _detect_loss(self, *, now: float, space: QuicPacketSpace) -> None:
        for oldest in space.sent_packets:
            if oldest < space.largest_acked_packet:
                super()._detect_loss(now=now, space=space)
                return
            break
        space.loss_time = None  # all that was sent before has been acknowledged

    def _on_packets_lost(self, *, packets: Iterable[QuicSentPacket], **rest: Any) -> None:
        packets = tuple(packets)
        if packets:
            self.has_lost = True
            super()._on_packets_lost(packets=packets, **rest)


class _Unusual(Exception):
    """A packet holds something that goes the long way."""


class _Contents:
    """What a packet holds: acknowledged packets, pieces of streams, and whether it wants to be acknowledged."""

    __slots__ = ("ack_delay", "acked", "eliciting", "pieces")

    def __init__(self) -> None:
        self.acked: RangeSet | None = None
        self.ack_delay = 0
        self.pieces: list[tuple[int, int, bytes]] = []
        self.eliciting = False


class SteadyQuic(BoundedQuic):
    """A server's end of a connection that mostly carries audio.

    Attributes:
        is_steady: whether nothing has to be sent but fresh data of streams, and acknowledgements.
    """

    def __init__(
        self,
        configuration: QuicConfiguration,
        original_id: bytes,
        retry_id: bytes,
        reset_token: Callable[[bytes], bytes],
    ) -> None:
        super().__init__(configuration, original_id, retry_id, reset_token)
        self._loss = _Recovery(
            congestion_control_algorithm=configuration.congestion_control_algorithm,
            initial_rtt=configuration.initial_rtt,
            max_datagram_size=self._max_datagram_size,
            peer_completed_address_validation=True,
            send_probe=self._send_probe,
            logger=self._logger,
        )
        self.is_steady = False
        self._space = QuicPacketSpace()  # those of the data, once the handshake is over
        self._crypto = CryptoPair()
        self._fresh: dict[int, QuicStream] = {}
        self._ending: list[QuicStream] = []

    def has_something(self, now: float) -> bool:
        """Tell whether `datagrams_to_send` might give something now."""
        if self._fresh or not self.is_steady:
            return True
        ack_at = self._space.ack_at
        return ack_at is not None and ack_at <= now

    # -- in ------------------------------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, addr: NetworkAddress, now: float) -> None:
        """Take a datagram."""
        if not self._receive_quickly(data, addr, now):
            self.is_steady = False
            super().receive_datagram(data, addr, now)

    def _receive_quickly(self, data: bytes, addr: NetworkAddress, now: float) -> bool:
        """Take a datagram, unless there is something unusual about it; then nothing was done."""
        if not self.is_steady or self._network_paths[0].addr != addr:
            return False
        if len(data) < _SAMPLE_AT + _SAMPLE_BYTES or data[0] & _FORM_BITS != _SHORT:
            return False
        if data[1:_NUMBER_AT] != self.host_cid:
            return False
        space, receiving = self._space, self._crypto.recv
        assert receiving.hp is not None
        assert receiving.aead is not None
        mask = receiving.hp._mask(data[_SAMPLE_AT : _SAMPLE_AT + _SAMPLE_BYTES])
        first = data[0] ^ mask[0] & _MASKED_BITS
        if first & _RESERVED_BITS or bool(first & _KEY_PHASE) != receiving.key_phase:
            return False
        size = (first & 3) + 1
        end = _NUMBER_AT + size
        shortened = int.from_bytes(data[_NUMBER_AT:end]) ^ int.from_bytes(mask[1 : 1 + size])
        number = decode_packet_number(shortened, 8 * size, space.expected_packet_number)
        header = bytes((first,)) + data[1:_NUMBER_AT] + shortened.to_bytes(size)
        try:
            contents = self._read(receiving.aead.decrypt(data[end:], header, number))
        except (CryptoError, IndexError, _Unusual):
            return False
        if number not in space.received_packets:  # RFC 9000 §12.3
            self._take_packet(number, space, contents, now, spin=bool(first & _SPIN))
        return True

    def _read(self, plain: bytes) -> _Contents:
        """Return what a packet holds.

        Raises:
            _Unusual: it is not for the short way.
            IndexError: it is cut off.
        """
        contents = _Contents()
        at, end = 0, len(plain)
        while at < end:
            kind = plain[at]
            at += 1
            if kind & ~(_FIN | _LENGTH | _OFFSET) == _STREAM:
                at = self._read_piece(kind, plain, at, contents)
                contents.eliciting = True
            elif kind == _ACK and contents.acked is None:
                at = _read_ack(plain, at, contents)
            elif kind == _PING:
                contents.eliciting = True
            elif kind != _PADDING:
                raise _Unusual
        if not end:
            raise _Unusual
        return contents

    def _read_piece(self, kind: int, plain: bytes, at: int, contents: _Contents) -> int:
        number, at = _integer(plain, at)
        offset, at = _integer(plain, at) if kind & _OFFSET else (0, at)
        size, at = _integer(plain, at) if kind & _LENGTH else (len(plain) - at, at)
        end = at + size
        stream = self._streams.get(number)
        if stream is None or kind & _FIN or not size or end > len(plain):
            raise _Unusual
        receiver, credit = stream.receiver, self._local_max_data
        if receiver.is_finished or receiver._buffer or receiver._final_size is not None:
            raise _Unusual
        if offset != receiver._buffer_start or offset + size > stream.max_stream_data_local:
            raise _Unusual
        if contents.pieces or credit.used + size > credit.value:
            raise _Unusual
        contents.pieces.append((number, offset + size, plain[at:end]))
        return end

    def _take_packet(
        self, number: int, space: QuicPacketSpace, contents: _Contents, now: float, *, spin: bool
    ) -> None:
        if number > space.expected_packet_number:
            space.expected_packet_number = number + 1
        if number > self._spin_highest_pn:
            self._spin_bit, self._spin_highest_pn = spin, number
        if contents.acked is not None:
            delay_s = (contents.ack_delay << self._remote_ack_delay_exponent) / 1_000_000
            self._take_ack(contents.acked, delay_s, space, now)
        for stream_id, offset, data in contents.pieces:
            self._take_piece(self._streams[stream_id], offset, data)
        self._close_at = now + self._idle_timeout()
        self._ack_eliciting_sent_since_receipt = False
        in_order = number == space.largest_received_packet + 1
        if number > space.largest_received_packet:
            space.largest_received_packet, space.largest_received_time = number, now
        space.ack_queue.add(number)
        space.received_packets.add(number)
        if len(space.ack_queue) > MAX_ACK_RANGES:
            space.ack_queue.shift()
        if contents.eliciting:
            # RFC 9000 §13.2.1 and §13.2.2: at once for what is out of order, and for each second packet.
            at_once = not in_order or space.ack_at is not None
            space.ack_at = now if at_once else now + ACK_DELAY_S

    def _take_ack(self, acked: RangeSet, delay_s: float, space: QuicPacketSpace, now: float) -> None:
        self._loss.on_ack_received(ack_rangeset=acked, ack_delay=delay_s, now=now, space=space)
        if self._loss.has_lost:
            self._loss.has_lost = self.is_steady = False
        if self._ending and any(stream.is_finished for stream in self._ending):
            self._ending = [stream for stream in self._ending if not stream.is_finished]
            self.is_steady = False  # they are put away, which lets the peer open others

    def _take_piece(self, stream: QuicStream, end: int, data: bytes) -> None:
        receiver, credit = stream.receiver, self._local_max_data
        receiver._buffer_start = receiver.highest_offset = end
        credit.used += len(data)
        self._events.append(StreamDataReceived(data=data, end_stream=False, stream_id=stream.stream_id))
        if credit.value - credit.used < WINDOW_BYTES // 2 or end * 2 > stream.max_stream_data_local:
            self.is_steady = False  # the peer needs to hear of more credit

    # -- out -----------------------------------------------------------------------------------------------

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        """Return the datagrams to send now, each with where it goes."""
        found: list[tuple[bytes, NetworkAddress]] = []
        if self.is_steady and self.has_something(now):
            found = self._send_quickly(now)
        if not self.is_steady:
            found += super().datagrams_to_send(now)
            self._fresh.clear()
            self._ending = [item for item in self._streams.values() if item.sender._buffer_fin is not None]
            self.is_steady = self._is_settled()
        return found

    def _send_quickly(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        """Return a datagram with what is fresh; if not all of that can leave so, the connection is not steady."""
        loss, space, crypto, path = self._loss, self._space, self._crypto, self._network_paths[0]
        flight = loss.congestion_window - loss.bytes_in_flight
        room = min(self._max_datagram_size, flight) - _HEADS_BYTES
        if crypto._update_key_requested or len(space.ack_queue) > _MAX_RANGES:
            self.is_steady = False
            return []
        handlers: list[_Handler] = []
        frames = b""
        if space.ack_at is not None:
            frames = self._ack_frame(space, now, handlers)
        is_paced = bool(self._fresh) and loss._pacer.next_send_time(now=now) is not None
        is_eliciting = False
        if self._fresh and not is_paced:
            for stream in self._fresh.values():
                piece = self._piece(stream, room, handlers)
                if piece is None:
                    break
                frames += piece
                room -= len(piece)
                is_eliciting = True
            else:
                self._fresh.clear()
        if self._fresh:
            self.is_steady = False
        if not frames:
            return []
        number = self._packet_number
        first = _SHORT | self._spin_bit << 5 | crypto.key_phase << 2 | _SENT_NUMBER_BYTES - 1
        header = bytes((first,)) + self._peer_cid.cid + (number & 0xFFFF).to_bytes(_SENT_NUMBER_BYTES)
        data = _protected(crypto.send, header, frames, number)
        packet = QuicSentPacket(
            epoch=tls.Epoch.ONE_RTT,
            in_flight=is_eliciting,
            is_ack_eliciting=is_eliciting,
            is_crypto_packet=False,
            packet_number=number,
            packet_type=QuicPacketType.ONE_RTT,
            sent_time=now,
            sent_bytes=len(data),
            delivery_handlers=handlers,
        )
        self._packet_number += 1
        loss.on_packet_sent(packet=packet, space=space)
        loss._pacer.update_after_send(now=now)
        if is_eliciting and not self._ack_eliciting_sent_since_receipt:
            self._close_at = now + self._idle_timeout()
            self._ack_eliciting_sent_since_receipt = True
        path.bytes_sent += len(data)
        return [(data, path.addr)]

    def _ack_frame(self, space: QuicPacketSpace, now: float, handlers: list[_Handler]) -> bytes:
        """Return the frame that tells what has come (RFC 9000 §19.3)."""
        assert space.largest_received_time is not None
        delay = round((now - space.largest_received_time) * 1_000_000) >> _ACK_DELAY_EXPONENT
        ranges = list(space.ack_queue)
        newest = ranges.pop()
        largest, start = newest.stop - 1, newest.start
        frame = b"\x02" + varint(largest) + varint(delay) + varint(len(ranges)) + varint(largest - start)
        while ranges:
            before = ranges.pop()
            frame += varint(start - before.stop - 1) + varint(before.stop - before.start - 1)
            start = before.start
        space.ack_at = None
        handlers.append((self._on_ack_delivery, (space, space.largest_received_packet)))
        return frame

    def _piece(self, stream: QuicStream, room: int, handlers: list[_Handler]) -> bytes | None:
        """Return the frame with all that is fresh of a stream, None when that cannot leave at once."""
        sender = stream.sender
        if stream.is_blocked or sender._reset_error_code is not None:
            return None
        start, stop = sender.next_offset, sender._buffer_stop
        used = stop - sender.highest_offset
        if stop - start > room or stop > stream.max_stream_data_remote or room < 0:
            return None
        if used > self._remote_max_data - self._remote_max_data_used or len(sender._pending) > 1:
            return None
        frame = sender.get_frame(room)
        if frame is None:
            return None
        self._remote_max_data_used += used
        sender.buffer_is_empty = True
        if frame.fin:
            self._ending.append(stream)
        kind = _STREAM | _LENGTH | (_OFFSET if start else 0) | (_FIN if frame.fin else 0)
        handlers.append((sender.on_data_delivery, (start, stop, frame.fin)))
        head = bytes((kind,)) + varint(stream.stream_id) + (varint(start) if start else b"")
        return head + varint(stop - start) + frame.data

    # -- state ---------------------------------------------------------------------------------------------

    def _is_settled(self) -> bool:
        """Tell whether there is nothing left to send, nor anything that only the long way does."""
        if not self._handshake_confirmed or self._state is not QuicConnectionState.CONNECTED:
            return False
        if self._close_event is not None or self._pacing_at is not None or self._quic_logger is not None:
            return False
        self._space, self._crypto = self._spaces[tls.Epoch.ONE_RTT], self._cryptos[tls.Epoch.ONE_RTT]
        path, crypto = self._network_paths[0], self._crypto
        if len(self._network_paths) > 1 or not path.is_validated or path.remote_challenges:
            return False
        if self._cryptos[tls.Epoch.ZERO_RTT].recv.is_valid() or crypto._update_key_requested:
            return False
        waiting = (
            self._handshake_done_pending,
            self._retire_connection_ids,
            self._streams_blocked_pending,
            self._streams_blocked_bidi,
            self._streams_blocked_uni,
            self._ping_pending,
            self._probe_pending,
            self._datagrams_pending,
            not self._crypto_streams[tls.Epoch.ONE_RTT].sender.buffer_is_empty,
            not all(item.was_sent for item in self._host_cids),
            any(map(_wants_to_send, self._streams.values())),
        )
        self._loss.has_lost = False
        credit = self._local_max_data
        return not any(waiting) and credit.value == credit.sent

    def get_timer(self) -> float | None:
        """Return when `handle_timer` is to be called, None for never."""
        if not self.is_steady:
            return super().get_timer()
        loss, space = self._loss, self._space
        self._loss_at = space.loss_time
        if self._loss_at is None and space.ack_eliciting_in_flight:
            timeout: float = loss.get_probe_timeout() * 2**loss._pto_count
            self._loss_at = loss._time_of_last_sent_ack_eliciting_packet + timeout
        due = self._close_at
        for at in (space.ack_at, self._loss_at):
            if at is not None and at < due:
                due = at
        return due

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self.is_steady = False
        super().handle_timer(now)

    def close(self, *args: Any, **named: Any) -> None:
        """End the connection."""
        self.is_steady = False
        super().close(*args, **named)

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """Give up our half of a stream."""
        self.is_steady = False
        super().reset_stream(stream_id, error_code)

    def stop_stream(self, stream_id: int, error_code: int) -> None:
        """Ask the peer to give up its half of a stream."""
        self.is_steady = False
        super().stop_stream(stream_id, error_code)

    def send_ping(self, uid: int) -> None:
        """Let the peer acknowledge something."""
        self.is_steady = False
        super().send_ping(uid)

    def send_datagram_frame(self, data: bytes) -> None:
        """Send a datagram that is never sent again."""
        self.is_steady = False
        super().send_datagram_frame(data)

    def send_stream_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        """Queue data of a stream."""
        super().send_stream_data(stream_id, data, end_stream)
        self._fresh[stream_id] = self._streams[stream_id]

    def change_connection_id(self) -> None:
        """Use another connection id of the peer's."""
        self.is_steady = False
        super().change_connection_id()

    def request_key_update(self) -> None:
        """Use other keys from the next packet on."""
        self.is_steady = False
        super().request_key_update()


def _wants_to_send(stream: QuicStream) -> bool:
    """Tell whether the long way has something to do for a stream."""
    sender, receiver, credit = stream.sender, stream.receiver, stream.max_stream_data_local
    if not sender.buffer_is_empty or sender.reset_pending or receiver.stop_pending or stream.is_finished:
        return True
    return bool(credit != stream.max_stream_data_local_sent or receiver.highest_offset * 2 > credit > 0)


def _integer(data: bytes, at: int) -> tuple[int, int]:
    """Return the integer at a place, and the place behind it; IndexError when it is cut off."""
    first = data[at]
    if first < 0x40:
        return first, at + 1
    size = 1 << (first >> 6)
    end = at + size
    if end > len(data):
        raise IndexError
    return int.from_bytes(data[at:end]) & (1 << 8 * size - 2) - 1, end


def _read_ack(plain: bytes, at: int, contents: _Contents) -> int:
    largest, at = _integer(plain, at)
    contents.ack_delay, at = _integer(plain, at)
    more, at = _integer(plain, at)
    size, at = _integer(plain, at)
    if more > _MAX_RANGES or size > largest:
        raise _Unusual
    contents.acked = RangeSet((range(largest - size, largest + 1),))
    smallest = largest - size
    for _ in range(more):
        gap, at = _integer(plain, at)
        size, at = _integer(plain, at)
        largest = smallest - gap - 2
        smallest = largest - size
        if smallest < 0:
            raise _Unusual
        contents.acked.add(smallest, largest + 1)
    return at


def _protected(sending: CryptoContext, header: bytes, frames: bytes, number: int) -> bytes:
    """Return a packet as it leaves (RFC 9001 §5.3 and §5.4)."""
    assert sending.aead is not None
    assert sending.hp is not None
    sealed = sending.aead.encrypt(frames, header, number)
    sample_at = 4 - _SENT_NUMBER_BYTES
    mask = sending.hp._mask(sealed[sample_at : sample_at + _SAMPLE_BYTES])
    at = len(header) - _SENT_NUMBER_BYTES
    hidden = int.from_bytes(header[at:]) ^ int.from_bytes(mask[1 : 1 + _SENT_NUMBER_BYTES])
    first = bytes((header[0] ^ mask[0] & _MASKED_BITS,))
    return first + header[1:at] + hidden.to_bytes(_SENT_NUMBER_BYTES) + sealed
