"""A connection's short way for what it does fifty times a second: pieces of streams, datagrams, and ACKs.

aioquic takes any packet in any state, and looks at everything for each: a connection that only carries audio
spends most of its time there. While nothing else is going on, packets that hold nothing else are read and
written here, on the same state and by the same rules. Whatever is out of the ordinary goes the long way,
which is aioquic's own. `tests/quic/test_steady.py` holds both ways against each other.

Spec: RFC 9000, RFC 9002.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import aioquic
from aioquic import tls
from aioquic._crypto import CryptoError
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import NetworkAddress, QuicConnectionState, QuicNetworkPath
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.events import DatagramFrameReceived, StreamDataReceived
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.quic.recovery import MAX_ACK_RANGES, QuicPacketSpace
from aioquic.quic.stream import QuicStream

from vb.quic.bounds import WINDOW_BYTES, BoundedQuic
from vb.quic.grid import GRID_S
from vb.quic.invariants import CONNECTION_ID_BYTES
from vb.quic.packets import (
    MAX_RANGES,
    SPIN,
    Ack,
    UnusualError,
    ack_frame,
    integer,
    open_packet,
    read_ack,
    seal_packet,
)
from vb.quic.recovery import Recovery
from vb.quic.varint import varint

COMPARED: Final = ("1.7.2",)
"""Versions of aioquic beside which the short way was read and tested; with any other one it is not taken."""
ACK_DELAY_S: Final = 4 * GRID_S
"""So long an ACK waits for something to leave with, and then for the next moment of the grid.

25 ms are promised, from the moment on at which a packet comes; it may wait to be read as well. Of a peer that
is sent a frame each 20 ms hardly any leaves alone.
"""
_ACK_DELAY_EXPONENT: Final = 3
_PADDING, _PING, _ACK = 0x00, 0x01, 0x02
_STREAM: Final = 0x08
_FIN, _LENGTH, _OFFSET = 0x01, 0x02, 0x04
_DATAGRAM, _DATAGRAM_WITH_LENGTH = 0x30, 0x31
_HEADS_BYTES: Final = 160
"""More than header and tag of a packet, an ACK, and the head of a piece take."""

_Handler = tuple[Callable[..., None], Any]


@dataclass(frozen=True, slots=True)
class _Piece:
    """The next bytes of a stream of the peer, and how many bytes of it have come with them."""

    stream: QuicStream
    end: int
    data: bytes


@dataclass(slots=True)
class _Contents:
    """What a packet of the short way holds, and whether it wants to be acknowledged."""

    ack: Ack | None = None
    piece: _Piece | None = None
    datagram: bytes | None = None
    is_eliciting: bool = False


@dataclass(slots=True)
class _Frames:
    """What a packet will hold, and who is to be told of its fate."""

    data: bytes = b""
    handlers: list[_Handler] = field(default_factory=list)
    is_eliciting: bool = False


class SteadyQuic(BoundedQuic):
    """A server's end of a connection that mostly carries audio; its arguments are those of `BoundedQuic`.

    Attributes:
        is_steady: whether nothing has to be sent but fresh data of streams, and ACKs.
    """

    def __init__(
        self,
        configuration: QuicConfiguration,
        original_id: bytes,
        retry_id: bytes,
        reset_token: Callable[[bytes], bytes],
    ) -> None:
        super().__init__(configuration, original_id, retry_id, reset_token)
        self.is_steady = False
        self._recovery = self._loss = Recovery(
            congestion_control_algorithm=configuration.congestion_control_algorithm,
            initial_rtt=configuration.initial_rtt,
            max_datagram_size=self._max_datagram_size,
            peer_completed_address_validation=True,
            send_probe=self._send_probe,
            logger=self._logger,
        )
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
        if not self._receive_shortly(data, addr, now):
            self.is_steady = False
            super().receive_datagram(data, addr, now)
            if self._handshake_confirmed:
                space = self._spaces[tls.Epoch.ONE_RTT]
                if space.ack_at is not None and len(space.ack_queue) > 1:
                    space.ack_at = now  # the peer has to hear of a gap (RFC 9000 §13.2.1)

    def _receive_shortly(self, data: bytes, addr: NetworkAddress, now: float) -> bool:
        """Take a datagram; False when the long way is the right one, and nothing was done."""
        if not self.is_steady or self._network_paths[0].addr != addr:
            return False
        if data[1 : 1 + CONNECTION_ID_BYTES] != self.host_cid:
            return False
        space = self._space
        try:
            first, number, plain = open_packet(self._crypto.recv, data, space.expected_packet_number)
            if number in space.received_packets:  # RFC 9000 §12.3
                return True
            contents = self._read(plain)
        except CryptoError:  # damaged, or of somebody else: as good as lost
            return True
        except (IndexError, UnusualError):
            return False
        self._take_packet(number, contents, now, spin=bool(first & SPIN))
        return True

    def _read(self, plain: bytes) -> _Contents:
        """Return what a packet holds.

        Raises:
            UnusualError: it is not for the short way.
            IndexError: it is cut off.
        """
        contents = _Contents()
        at, end = 0, len(plain)
        if not end:
            raise UnusualError
        while at < end:
            kind = plain[at]
            at += 1
            if kind & ~(_FIN | _LENGTH | _OFFSET) == _STREAM and contents.piece is None:
                contents.piece, at = self._read_piece(kind, plain, at)
                contents.is_eliciting = True
            elif kind == _ACK and contents.ack is None:
                contents.ack, at = read_ack(plain, at)
            elif kind in (_DATAGRAM, _DATAGRAM_WITH_LENGTH) and contents.datagram is None:
                size, at = integer(plain, at) if kind == _DATAGRAM_WITH_LENGTH else (end - at, at)
                contents.datagram, at = plain[at : at + size], at + size
                contents.is_eliciting = True
            elif kind == _PING:
                contents.is_eliciting = True
            elif kind == _PADDING:
                at = end - len(plain[at:].lstrip(b"\0"))
            else:
                raise UnusualError
        if at > end:
            raise UnusualError
        return contents

    def _read_piece(self, kind: int, plain: bytes, at: int) -> tuple[_Piece, int]:
        number, at = integer(plain, at)
        offset, at = integer(plain, at) if kind & _OFFSET else (0, at)
        size, at = integer(plain, at) if kind & _LENGTH else (len(plain) - at, at)
        stream = self._streams.get(number)
        if stream is None or kind & _FIN or not size or at + size > len(plain):
            raise UnusualError
        receiver, credit = stream.receiver, self._local_max_data
        if receiver.is_finished or receiver._buffer or receiver._final_size is not None:
            raise UnusualError
        if offset != receiver._buffer_start or offset + size > stream.max_stream_data_local:
            raise UnusualError
        if credit.used + size > credit.value:
            raise UnusualError
        return _Piece(stream, offset + size, plain[at : at + size]), at + size

    def _take_packet(self, number: int, contents: _Contents, now: float, *, spin: bool) -> None:
        space = self._space
        if number > space.expected_packet_number:
            space.expected_packet_number = number + 1
        if number > self._spin_highest_pn:
            self._spin_bit, self._spin_highest_pn = spin, number
        if contents.ack is not None:
            self._take_ack(contents.ack, now)
        if contents.piece is not None:
            self._take_piece(contents.piece)
        if contents.datagram is not None:
            self._events.append(DatagramFrameReceived(data=contents.datagram))
        self._close_at = now + self._idle_timeout()
        self._ack_eliciting_sent_since_receipt = False
        is_next = number == space.largest_received_packet + 1
        if number > space.largest_received_packet:
            space.largest_received_packet, space.largest_received_time = number, now
        space.ack_queue.add(number)
        space.received_packets.add(number)
        if len(space.ack_queue) > MAX_ACK_RANGES:
            space.ack_queue.shift()
        if contents.is_eliciting:
            # RFC 9000 §13.2.1, §13.2.2: no waiting for what is out of order, nor for each second packet.
            space.ack_at = now + ACK_DELAY_S if is_next and space.ack_at is None else now

    def _take_ack(self, ack: Ack, now: float) -> None:
        delay_s = (ack.delay << self._remote_ack_delay_exponent) / 1_000_000
        recovery = self._recovery
        recovery.on_ack_received(ack_rangeset=ack.packets, ack_delay=delay_s, now=now, space=self._space)
        if recovery.has_lost:
            recovery.has_lost = self.is_steady = False
        if self._ending and any(stream.is_finished for stream in self._ending):
            self.is_steady = False  # they are put away, which lets the peer open others

    def _take_piece(self, piece: _Piece) -> None:
        stream, credit = piece.stream, self._local_max_data
        stream.receiver._buffer_start = stream.receiver.highest_offset = piece.end
        credit.used += len(piece.data)
        assert stream.stream_id is not None
        event = StreamDataReceived(data=piece.data, end_stream=False, stream_id=stream.stream_id)
        self._events.append(event)
        if credit.value - credit.used < WINDOW_BYTES // 2 or piece.end * 2 > stream.max_stream_data_local:
            self.is_steady = False  # the peer needs to hear of more credit

    # -- out -----------------------------------------------------------------------------------------------

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        """Return the datagrams to send now, each with where it goes."""
        found: list[tuple[bytes, NetworkAddress]] = []
        if self.is_steady and self.has_something(now):
            found = self._send_shortly(now)
        if not self.is_steady:
            found += super().datagrams_to_send(now)
            self._fresh.clear()
            self._ending = list(filter(_is_ending, self._streams.values()))
            self.is_steady = self._is_settled()
        return found

    def _send_shortly(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        """Return a packet with an ACK and what is fresh; what does not fit makes the connection unsteady."""
        recovery, space, crypto = self._recovery, self._space, self._crypto
        if crypto._update_key_requested or len(space.ack_queue) > MAX_RANGES:
            self.is_steady = False
            return []
        frames = _Frames()
        if space.ack_at is not None:
            self._add_ack(frames, now)
        if self._fresh:
            self._add_pieces(frames, now)
            self.is_steady = not self._fresh
        if not frames.data:
            return []
        number, path = self._packet_number, self._network_paths[0]
        data = seal_packet(crypto.send, self._peer_cid.cid, frames.data, number, spin=self._spin_bit)
        packet = QuicSentPacket(
            epoch=tls.Epoch.ONE_RTT,
            in_flight=frames.is_eliciting,
            is_ack_eliciting=frames.is_eliciting,
            is_crypto_packet=False,
            packet_number=number,
            packet_type=QuicPacketType.ONE_RTT,
            sent_time=now,
            sent_bytes=len(data),
            delivery_handlers=frames.handlers,
        )
        self._packet_number += 1
        recovery.on_packet_sent(packet=packet, space=space)
        recovery._pacer.update_after_send(now=now)
        if frames.is_eliciting and not self._ack_eliciting_sent_since_receipt:
            self._close_at = now + self._idle_timeout()
            self._ack_eliciting_sent_since_receipt = True
        path.bytes_sent += len(data)
        return [(data, path.addr)]

    def _add_ack(self, frames: _Frames, now: float) -> None:
        space = self._space
        assert space.largest_received_time is not None
        delay = int((now - space.largest_received_time) * 1_000_000) >> _ACK_DELAY_EXPONENT
        frames.data += ack_frame(list(space.ack_queue), delay)
        frames.handlers.append((self._on_ack_delivery, (space, space.largest_received_packet)))
        space.ack_at = None

    def _add_pieces(self, frames: _Frames, now: float) -> None:
        """Add what is fresh of streams, as far as it may leave now."""
        recovery = self._recovery
        flight = recovery.congestion_window - recovery.bytes_in_flight
        room = min(self._max_datagram_size, flight) - _HEADS_BYTES
        if recovery._pacer.next_send_time(now=now) is not None:
            return
        for number, stream in tuple(self._fresh.items()):
            before = len(frames.data)
            if not self._add_piece(frames, stream, number, room):
                return
            room -= len(frames.data) - before
            del self._fresh[number]

    def _add_piece(self, frames: _Frames, stream: QuicStream, number: int, room: int) -> bool:
        """Add all that is fresh of a stream; False when that cannot be."""
        sender = stream.sender
        if stream.is_blocked or sender._reset_error_code is not None or len(sender._pending) > 1:
            return False
        start, stop = sender.next_offset, sender._buffer_stop
        used = stop - sender.highest_offset
        if room < 0 or stop - start > room or stop > stream.max_stream_data_remote:
            return False
        if used > self._remote_max_data - self._remote_max_data_used:
            return False
        frame = sender.get_frame(room)
        if frame is None:
            return False
        self._remote_max_data_used += used
        sender.buffer_is_empty = True
        if frame.fin:
            self._ending.append(stream)
        kind = _STREAM | _LENGTH | (_OFFSET if start else 0) | (_FIN if frame.fin else 0)
        head = bytes((kind,)) + varint(number) + (varint(start) if start else b"") + varint(stop - start)
        frames.data += head + frame.data
        frames.handlers.append((sender.on_data_delivery, (start, stop, frame.fin)))
        frames.is_eliciting = True
        return True

    # -- state ---------------------------------------------------------------------------------------------

    def _is_settled(self) -> bool:
        """Tell whether there is nothing left to send, nor anything that only the long way does."""
        self._recovery.has_lost = False
        if aioquic.__version__ not in COMPARED:
            return False
        if not self._handshake_confirmed or self._state is not QuicConnectionState.CONNECTED:
            return False
        if self._close_event is not None or self._pacing_at is not None or self._quic_logger is not None:
            return False
        self._space, self._crypto = self._spaces[tls.Epoch.ONE_RTT], self._cryptos[tls.Epoch.ONE_RTT]
        path, credit = self._network_paths[0], self._local_max_data
        if not path.is_validated or any(map(_wants_probes, self._network_paths)):
            return False
        if self._cryptos[tls.Epoch.ZERO_RTT].recv.is_valid() or self._crypto._update_key_requested:
            return False
        waiting = (
            self._handshake_done_pending,
            self._retire_connection_ids,
            self._streams_blocked_bidi,
            self._streams_blocked_uni,
            self._ping_pending,
            self._probe_pending,
            self._datagrams_pending,
            credit.value != credit.sent,
            not self._crypto_streams[tls.Epoch.ONE_RTT].sender.buffer_is_empty,
            not all(item.was_sent for item in self._host_cids),
            any(map(_wants_to_send, self._streams.values())),
        )
        return not any(waiting)

    def get_timer(self) -> float | None:
        """Return when `handle_timer` is to be called, None for never."""
        if not self.is_steady:
            return super().get_timer()
        recovery, space = self._recovery, self._space
        self._loss_at = space.loss_time
        if self._loss_at is None and space.ack_eliciting_in_flight:
            timeout = recovery.get_probe_timeout() * 2**recovery._pto_count
            self._loss_at = recovery._time_of_last_sent_ack_eliciting_packet + timeout
        assert self._close_at is not None
        due = self._close_at
        for at in (space.ack_at, self._loss_at):
            if at is not None and at < due:
                due = at
        return due

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        assert self._close_at is not None
        if self.is_steady and now < self._close_at and (self._loss_at is None or now < self._loss_at):
            return  # it is time for an ACK only
        self.is_steady = False
        super().handle_timer(now)

    def send_stream_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        """Queue data of a stream."""
        super().send_stream_data(stream_id, data, end_stream)
        self._fresh[stream_id] = self._streams[stream_id]

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


def _is_ending(stream: QuicStream) -> bool:
    """Tell whether our half of a stream ends, or has ended."""
    return stream.sender._buffer_fin is not None or stream.sender._reset_error_code is not None


def _wants_probes(path: QuicNetworkPath) -> bool:
    """Tell whether the long way has something to send on a path only for the path's own sake."""
    return bool(path.remote_challenges) or not (path.is_validated or path.local_challenge_sent)


def _wants_to_send(stream: QuicStream) -> bool:
    """Tell whether the long way has something to do for a stream."""
    sender, receiver, credit = stream.sender, stream.receiver, stream.max_stream_data_local
    if not sender.buffer_is_empty or sender.reset_pending or receiver.stop_pending or stream.is_finished:
        return True
    return credit != stream.max_stream_data_local_sent or 0 < credit < receiver.highest_offset * 2
