"""Run one attack."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from fuzz.attack import (
    audio_sockets,
    dialog_storm,
    hostile_json,
    invite_flood,
    quic_noise,
    rtp_garbage,
    sip_datagrams,
    sip_streams,
    slow_http,
    vsi_abuse,
    webrtc_noise,
)
from fuzz.attack.briefing import Briefing

ATTACKS: dict[str, Callable[[Briefing], None]] = {
    "sip": sip_datagrams.run,
    "rtp": rtp_garbage.run,
    "dialog": dialog_storm.run,
    "tcp": sip_streams.run,
    "json": hostile_json.run,
    "http": slow_http.run,
    "vsi": vsi_abuse.run,
    "audio": audio_sockets.run,
    "flood": invite_flood.run,
    "webrtc": webrtc_noise.run,
    "quic": quic_noise.run,
}
NICENESS = 10


def main() -> None:
    """Take the briefing and run, with less claim to the CPU than those who are attacked."""
    os.nice(NICENESS)
    ATTACKS[sys.argv[1]](Briefing.from_json(sys.stdin.readline()))


if __name__ == "__main__":
    main()
