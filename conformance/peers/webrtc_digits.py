"""Telephone-events for aiortc, which has none: sent in place of audio, noted as they come (RFC 4733)."""

from __future__ import annotations

import struct
from collections import deque

from aiortc import RTCDtlsTransport
from aiortc.rtcdtlstransport import RtpReceiver
from aiortc.rtp import RtpPacket, is_rtcp

PAYLOAD_TYPE = 126
DIGITS = "0123456789*#ABCD"
UPDATES, ENDS, PAUSE = 5, 3, 5
"""Packets of a digit before its end, of its end, and of audio after it."""
STEP = 160
END = 0x80


def with_events(sdp: str) -> str:
    """A description that offers, or takes, telephone-events beside its audio."""
    lines = []
    for line in sdp.splitlines():
        if line.startswith("m=audio"):
            lines += [f"{line} {PAYLOAD_TYPE}"]
        elif line.startswith("a=rtpmap") and f"a=rtpmap:{PAYLOAD_TYPE} telephone-event/8000" not in lines:
            lines += [f"a=rtpmap:{PAYLOAD_TYPE} telephone-event/8000", line]
        else:
            lines += [line]
    return "".join(f"{line}\r\n" for line in lines)


class Digits:
    """The digits of one connection.

    Attributes:
        heard: those that came, in order.
    """

    def __init__(self, transport: RTCDtlsTransport) -> None:
        self.heard = ""
        self._due: deque[tuple[int, int, int] | None] = deque()
        self._timestamp = b""
        self._noted: int | None = None
        self._send_packet, self._route = transport._send_rtp, transport._rtp_router.route_rtp
        transport._send_rtp = self._send  # type: ignore[method-assign]  # there is no other way in
        transport._rtp_router.route_rtp = self._note  # type: ignore[method-assign]  # nor here

    def press(self, digits: str) -> None:
        """Sends digits from the next packet of audio on."""
        for digit in digits:
            code = DIGITS.index(digit)
            steps = [(code, 0, number + 1) for number in range(UPDATES)]
            self._due += [*steps, *[(code, END, UPDATES + 1)] * ENDS, *[None] * PAUSE]

    async def _send(self, data: bytes) -> None:
        due = self._due.popleft() if self._due and not is_rtcp(data) else None
        if due is not None:
            code, end, steps = due
            first = steps == 1
            if first:
                self._timestamp = data[4:8]
            head = bytes((0x80, PAYLOAD_TYPE | (0x80 if first else 0))) + data[2:4] + self._timestamp
            data = head + data[8:12] + struct.pack("!BBH", code, end | 10, steps * STEP)
        await self._send_packet(data)

    def _note(self, packet: RtpPacket) -> RtpReceiver | None:
        if packet.payload_type == PAYLOAD_TYPE and len(packet.payload) >= 4:
            code, flags = packet.payload[:2]
            if flags & END and packet.timestamp != self._noted and code < len(DIGITS):
                self._noted = packet.timestamp
                self.heard += DIGITS[code]
        return self._route(packet)
