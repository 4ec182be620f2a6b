"""Packets that need a second look: of unlocked sources, with header extras, and what is not RTP at all."""

from __future__ import annotations

from typing import Final

import numpy as np

from vb.mixer.batch import Batch
from vb.mixer.columns import HEADER_BYTES, NO_TYPE, NOISE
from vb.mixer.core import PlaneCore
from vb.mixer.packets import PortPacket
from vb.mixer.port import MAX_RTCP, RtpPort
from vb.rtp.latching import Address, Verdict
from vb.rtp.media_port import RtcpDatagram
from vb.rtp.packet import PacketKind, RtpPacket, classify, parse_rtp

PLAIN_FIRST_BYTE: Final = 0x80
MAX_AGE_S: Final = 1.0
"""Arrival times are held within this of the present: a stepped wall clock must not move the playout."""
_HANDED_ON: Final = (PacketKind.STUN, PacketKind.DTLS)
_VERIFY_TICKS: Final = 3
"""Ticks after a lock in which packets of others may still wait in the socket."""


class Demux:
    """Judges single packets, and decides which source each leg listens to (media rules 3 to 5).

    Args:
        core: the plane.
    """

    def __init__(self, core: PlaneCore) -> None:
        self._core = core
        self._settling: dict[int, int] = {}

    def examine(self, batch: Batch, row: int, arrival_s: float) -> bool:
        """Look at a packet that is not plain RTP of a locked source; return whether it is to be placed.

        A packet with contributors, extension or padding is rewritten in its row without them.
        """
        core = self._core
        slot, dropped = int(batch.slots[row]), core.statistics.dropped
        port = core.ports[slot]
        data = batch.matrix[row, : int(batch.lengths[row])].tobytes()
        source = batch.sources[row][:2]
        kind = classify(data)
        if kind in _HANDED_ON and isinstance(port, RtpPort) and port.packets.listening:
            if not port.packets.put(PortPacket(kind, data, source, arrival_s)):
                dropped["packets_full"] += 1
            return False
        if not isinstance(port, RtpPort) or not core.columns.listening[slot]:
            dropped["not_listening"] += 1
            return False
        if kind is PacketKind.RTCP:
            self._take_rtcp(port, data, source, arrival_s)
            return False
        if kind is not PacketKind.RTP:
            dropped[kind.name.lower()] += 1
            return False
        packet = parse_rtp(data)
        if packet is None:
            dropped["damaged"] += 1
            core.columns.damaged[slot] += 1
            return False
        if not core.columns.trusted[slot] and not self._admit(port, packet, source, arrival_s):
            dropped["foreign_source"] += 1
            return False
        if data[0] != PLAIN_FIRST_BYTE:
            length = HEADER_BYTES + len(packet.payload)
            batch.matrix[row, HEADER_BYTES:length] = np.frombuffer(packet.payload, np.uint8)
            batch.lengths[row] = length
        return True

    def _admit(self, port: RtpPort, packet: RtpPacket, source: Address, arrival_s: float) -> bool:
        """Ask the leg's latch, and lock the socket when it says so."""
        core, slot = self._core, port.slot
        known = core.columns.kinds[slot, packet.payload_type] not in (NO_TYPE, NOISE)
        verdict = port.latch.receive(
            source, packet.ssrc, packet.sequence, known_type=bool(known), now=arrival_s
        )
        if verdict is Verdict.REFUSE:
            return False
        if verdict is Verdict.LOCK and port.latch.moved:
            core.arrivals.restart(slot)  # what was learnt of the source before ends with it
        if verdict is Verdict.LOCK and (port.agreed is None or port.agreed.remote_rtp is None):
            core.touch(slot)  # only now is there an address to send to
        # A locked source that is heard again after a silence is locked anew.
        if verdict is Verdict.LOCK or slot not in self._settling:
            core.io.lock(slot, source)
            self._settling[slot] = core.tick + _VERIFY_TICKS
        return True

    def receive_rtcp(self, batch: Batch) -> None:
        """Take what came to the RTCP sockets."""
        core = self._core
        for slot, raw, source, stamp_ns in batch.rtcp:
            port, data = core.ports[slot], core.transforms.open_rtcp(slot, raw)
            if data is not None and isinstance(port, RtpPort) and core.columns.listening[slot]:
                arrival_s = stamp_ns * 1e-9 - batch.wall_offset_s if stamp_ns else core.now
                self._take_rtcp(port, data, source, min(max(arrival_s, core.now - MAX_AGE_S), core.now))

    def _take_rtcp(self, port: RtpPort, data: bytes, source: Address, arrival_s: float) -> None:
        """Hand RTCP to the leg's task; it counts as life when it comes from the locked source's host."""
        if port.agreed is None:
            # Nobody is known yet whose reports would count.
            self._core.statistics.dropped["not_listening"] += 1
            return
        locked = port.latch.locked
        if locked is not None:
            if source[0] != locked[0]:
                self._core.statistics.dropped["foreign_source"] += 1
                return
            self._core.columns.heard_at[port.slot] = arrival_s
        if len(port.rtcp) == MAX_RTCP:
            self._core.statistics.dropped["rtcp_full"] += 1
        port.rtcp.append(RtcpDatagram(data, source, arrival_s))
        port.wake()

    def finish_locking(self) -> None:
        """Trust the kernel's filter once a socket holds nothing from before its lock."""
        core = self._core
        for slot, tick in list(self._settling.items()):
            port = core.ports[slot]
            if not isinstance(port, RtpPort) or port.latch.locked is None:
                del self._settling[slot]
            elif core.tick >= tick:
                core.columns.trusted[slot] = True
                del self._settling[slot]

    def watch_silent(self, slots: list[int]) -> None:
        """Open the sockets of legs whose locked source fell silent, so that another may take over."""
        core = self._core
        for slot in slots:
            port = core.ports[slot]
            if not isinstance(port, RtpPort) or not core.columns.trusted[slot]:
                continue
            port.latch.heard(float(core.columns.heard_at[slot]))
            if port.latch.may_relearn(core.now):
                core.columns.trusted[slot] = False
                core.io.listen(slot)
