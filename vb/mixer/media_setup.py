"""Turning an agreed session description into a port's columns: what is received how, what is sent where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from vb.codecs.base import Codec, at_rate
from vb.mixer.columns import (
    ALAW,
    COMFORT_NOISE_TYPE,
    EVENT,
    GAP_CONCEAL,
    HEADER_BYTES,
    NO_TYPE,
    NOISE,
    STREAM,
    ULAW,
)
from vb.mixer.core import PlaneCore
from vb.mixer.frames import TICKS_PER_S
from vb.mixer.packetizer import Packetizer
from vb.mixer.streams import StreamReceiver
from vb.rtp.dtmf import TelephoneEventSender
from vb.rtp.latching import Address
from vb.sdp.negotiate import Agreed

if TYPE_CHECKING:
    from vb.mixer.port import RtpPort

_TABLED_HZ = 8000
_USUAL_PTIME_MS = 20


class MediaSetup:
    """Applies each agreed description of one RTP port.

    Args:
        core: the plane.
        port: the port.
    """

    def __init__(self, core: PlaneCore, port: RtpPort) -> None:
        self._core = core
        self._port = port

    def apply(self, agreed: Agreed) -> None:
        """Take over what changed against the description before; codecs that can run at the room's rate do.

        Raises:
            CodecError: the library of a codec is missing; nothing was changed.
        """
        port, before = self._port, self._port.agreed
        if port.closed:
            return
        room_hz = int(self._core.columns.room_hz[port.slot])
        if room_hz:
            agreed = _at_rate(agreed, room_hz)
        packetizer = self._packetizer(agreed, before)
        if before is None and port.rate_hz:
            self._core.arrivals.forget(port.slot)  # whoever sent before the answer may have been anybody
        self._receive(agreed, before)
        self._send(agreed, before, packetizer)
        self._address(agreed, before)
        port.agreed = agreed
        port.remote_hold = agreed.remote_held
        self._core.touch(port.slot)

    def expect(self, codecs: Mapping[int, Codec], telephone_events: Iterable[int]) -> None:
        """Take what an offer of ours lists beside what is agreed, from now on and from anybody until it is.

        Args:
            codecs: codec of each payload type.
            telephone_events: payload types of digits.

        Spec: RFC 3264 §5.1.
        """
        core, port = self._core, self._port
        if port.closed or not codecs:
            return
        kinds = core.columns.kinds[port.slot]
        if port.rate_hz == 0:
            first = next(iter(codecs.values()))
            kinds[COMFORT_NOISE_TYPE] = NOISE
            self._set_rate(first.pcm_rate_hz)
            core.arrivals.configure(port.slot, first.clock_rate_hz, first.pcm_rate_hz)
            self._learn(None)
        for payload_type in telephone_events:
            if kinds[payload_type] == NO_TYPE:
                kinds[payload_type] = EVENT
        further = {number: codec for number, codec in codecs.items() if kinds[number] == NO_TYPE}
        for payload_type, codec in further.items():
            kinds[payload_type] = _kind(codec, port.rate_hz)
        streams = {number: codec for number, codec in further.items() if kinds[number] == STREAM}
        receiver = core.streams[port.slot]
        if receiver is not None:
            receiver.add(streams)
            self._set_receiver(receiver, port.rate_hz)
        elif streams:
            self._set_receiver(StreamReceiver(streams, port.rate_hz), port.rate_hz)
        core.touch(port.slot)

    def _packetizer(self, agreed: Agreed, before: Agreed | None) -> Packetizer | None:
        codec = agreed.send_codec
        if codec.tabled and agreed.ptime_ms == _USUAL_PTIME_MS:
            return None
        if before is not None and (before.send_codec, before.ptime_ms) == (codec, agreed.ptime_ms):
            return self._core.packetizers[self._port.slot]
        return Packetizer(codec, agreed.ptime_ms)

    def _receive(self, agreed: Agreed, before: Agreed | None) -> None:
        """Set payload types, ring rate and decoders."""
        core, port = self._core, self._port
        slot, rate_hz = port.slot, agreed.send_codec.pcm_rate_hz
        kinds = core.columns.kinds[slot]
        kinds[:] = NO_TYPE
        kinds[COMFORT_NOISE_TYPE] = NOISE
        for payload_type in agreed.telephone_event_receive:
            kinds[payload_type] = EVENT
        for payload_type, codec in agreed.receive.items():
            kinds[payload_type] = _kind(codec, rate_hz)
        same_codecs = before is not None and dict(before.receive) == dict(agreed.receive)
        if port.rate_hz == rate_hz and same_codecs:
            return
        streams = {
            payload_type: codec
            for payload_type, codec in agreed.receive.items()
            if kinds[payload_type] == STREAM
        }
        self._set_receiver(StreamReceiver(streams, rate_hz) if streams else None, rate_hz)
        if port.rate_hz != rate_hz:
            self._set_rate(rate_hz)
        else:
            core.playout.stop(slot)
        first = agreed.send_codec
        # What is sent may have a bit rate of its own: the far end sends the codec all the same.
        if agreed.receive and first.name not in {codec.name for codec in agreed.receive.values()}:
            first = next(iter(agreed.receive.values()))
        core.arrivals.configure(slot, first.clock_rate_hz, rate_hz)
        core.arrivals.unlearn(slot)

    def _set_receiver(self, receiver: StreamReceiver | None, rate_hz: int) -> None:
        core, slot = self._core, self._port.slot
        if receiver is not core.streams[slot]:
            core.resting.forget(slot)
        core.streams[slot] = receiver
        core.columns.opus_hz[slot] = rate_hz if receiver is not None and receiver.is_opus else 0

    def _set_rate(self, rate_hz: int) -> None:
        core, port = self._core, self._port
        core.clear_ring(port.slot)
        port.rate_hz = rate_hz
        core.columns.rate_hz[port.slot] = rate_hz
        core.playout.configure(port.slot, rate_hz)
        core.columns.gap[port.slot] = GAP_CONCEAL
        core.columns.zero[port.slot] = False  # its audio takes another filter

    def _send(self, agreed: Agreed, before: Agreed | None, packetizer: Packetizer | None) -> None:
        """Set encoder and header; the source changes only with the clock (media rule 9, RFC 7160)."""
        core, port = self._core, self._port
        slot, columns = port.slot, core.columns
        if packetizer is not core.packetizers[slot]:
            core.sharing.release(slot)
        core.packetizers[slot] = packetizer
        columns.payload_type[slot] = agreed.send_payload_type
        clock_hz = agreed.send_codec.clock_rate_hz
        if before is None or before.send_codec.clock_rate_hz != clock_hz:
            if before is not None:
                port.ssrc = core.ids.u32()
            columns.step[slot] = clock_hz // TICKS_PER_S
            # Half of the numbers come before the first wrap, which SRTP must not miss (RFC 3711 §3.3.1).
            columns.sequence[slot] = core.ids.u16() >> (port.transform is not None)
            columns.timestamp[slot] = core.ids.u32()
            columns.marker[slot] = True
            header = columns.packets[slot, :HEADER_BYTES]
            header[0] = 0x80
            header[8:12] = list(port.ssrc.to_bytes(4, "big"))
        # Digits that a hold keeps from going out would come at a wrong time when it ends.
        if agreed.remote_held:
            port.digit_tones.clear()
        if before is None or agreed.remote_held or before.telephone_event_send != agreed.telephone_event_send:
            event = agreed.telephone_event_send
            port.digits = None if event is None else TelephoneEventSender(event[1])

    def _address(self, agreed: Agreed, before: Agreed | None) -> None:
        """Learn a new remote address; an unchanged one keeps its lock (media rule 5)."""
        remote = agreed.remote_rtp
        if before is None or before.remote_rtp != remote:
            self._learn(None if remote is None else (remote.host, remote.port))

    def _learn(self, address: Address | None) -> None:
        core, port = self._core, self._port
        port.latch.expect(address, core.now)
        core.columns.trusted[port.slot] = port.authenticated
        core.columns.listening[port.slot] = True
        core.io.aim(port.slot, address)


def _at_rate(agreed: Agreed, rate_hz: int) -> Agreed:
    """Return a description whose codecs run at a rate, those that can."""
    receive = {number: at_rate(codec, rate_hz) for number, codec in agreed.receive.items()}
    return replace(agreed, send_codec=at_rate(agreed.send_codec, rate_hz), receive=receive)


def _kind(codec: Codec, rate_hz: int) -> int:
    """Return the column value for a received codec."""
    if codec.tabled and rate_hz == _TABLED_HZ:
        return ULAW if codec.name == "PCMU" else ALAW
    return STREAM
