"""A load generator for the media plane: many G.711 phones in one process, with parsers of their own.

Every phone sends 20 ms PCMU packets at its own phase of the tick. In the steady part each talks in a tone of
its own FFT bin and what it hears is checked by bins; in the delay part silence is broken by bursts, and the
time from the first voiced packet sent to the first one received is measured with kernel time stamps.

Started by plane_bench.py with one JSON line on standard input; answers with one JSON line.
"""

from __future__ import annotations

import heapq
import json
import select
import socket
import struct
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

TICK_S = 0.02
SAMPLES = 160
RATE_HZ = 8000
WINDOW = 800  # samples: bins of 10 Hz, a whole number of periods per packet for multiples of 50 Hz
SO_TIMESTAMPNS = 35
HEADER = struct.Struct("!BBHII")
AMPLITUDE = 6000
SILENCE = b"\xff" * SAMPLES


def ulaw_decode_table() -> NDArray[np.int64]:
    codes = ~np.arange(256, dtype=np.int64) & 0xFF
    magnitude = (((codes & 0x0F) << 3) + 0x84 << ((codes >> 4) & 7)) - 0x84
    return np.where(codes & 0x80, -magnitude, magnitude)


TABLE = ulaw_decode_table()


def ulaw_encode(pcm: NDArray[np.int64]) -> bytes:
    order = np.argsort(TABLE, kind="stable")
    values = TABLE[order]
    index = np.clip(np.searchsorted(values, pcm), 1, 255)
    lower = np.abs(pcm - values[index - 1]) <= np.abs(values[index] - pcm)
    return order[np.where(lower, index - 1, index)].astype(np.uint8).tobytes()


class Phone:
    """One simulated phone."""

    def __init__(self, number: int, target: tuple[str, int], tone_hz: int, host: str) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.sock.bind((host, 0))
        self.target = target
        self.tone_hz = tone_hz
        self.sequence = (number * 7919) & 0xFFFF
        self.timestamp = (number * 104729) & 0xFFFFFFFF
        self.ssrc = 0x10000 + number
        tone = np.rint(AMPLITUDE * np.sin(2 * np.pi * tone_hz * np.arange(SAMPLES) / RATE_HZ)).astype(
            np.int64
        )
        self.voice = ulaw_encode(tone)
        self.sent = 0
        self.received = 0
        self.first_sequence: int | None = None
        self.last_sequence = 0
        self.wraps = 0
        self.heard: list[bytes] = []
        self.broken = 0
        self.onset_sent: float | None = None
        self.onset_heard: float | None = None
        self.delays: list[float] = []

    def send(self, voiced: bool) -> None:
        payload = self.voice if voiced else SILENCE
        packet = HEADER.pack(0x80, 0, self.sequence, self.timestamp, self.ssrc) + payload
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.timestamp = (self.timestamp + SAMPLES) & 0xFFFFFFFF
        try:
            self.sock.send(packet)
            self.sent += 1
        except OSError:
            pass

    def receive(self) -> tuple[float, bytes] | None:
        try:
            data, ancillary, _flags, _source = self.sock.recvmsg(2048, 64)
        except OSError:
            return None
        seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
        sequence = (data[2] << 8) | data[3]
        if self.first_sequence is None:
            self.first_sequence = self.last_sequence = sequence
        elif sequence < self.last_sequence:
            self.wraps += 1
        self.last_sequence = sequence
        self.received += 1
        return seconds + nanoseconds * 1e-9, data[12:]


def is_voiced(payload: bytes) -> bool:
    return int(np.abs(TABLE[np.frombuffer(payload, np.uint8)]).max()) > 1000


def run(config: dict[str, Any]) -> dict[str, Any]:
    phones = [
        Phone(i, ("127.0.0.1", port), config["tones"][i], "127.0.0.1")
        for i, port in enumerate(config["ports"])
    ]
    print(json.dumps({"local_ports": [phone.sock.getsockname()[1] for phone in phones]}), flush=True)
    sys.stdin.readline()
    epoll = select.epoll()
    by_fd = {}
    for phone in phones:
        phone.sock.connect(phone.target)
        epoll.register(phone.sock.fileno(), select.EPOLLIN)
        by_fd[phone.sock.fileno()] = phone
    begun = time.time() + 0.1
    seconds = config["seconds"]
    checking_from = begun + min(config["settle_s"], seconds / 2)
    delay_mode = config["mode"] == "delay"
    queue = [(begun + (i * 0.6180339887 % 1) * TICK_S, i, 0) for i in range(len(phones))]
    heapq.heapify(queue)
    lateness: list[float] = []
    end = begun + seconds
    burst = config.get("burst_ticks", 25)
    quiet = config.get("quiet_ticks", 50)
    partners = config["partners"]
    while True:
        now = time.time()
        while queue and queue[0][0] <= now:
            due, i, tick = heapq.heappop(queue)
            phone = phones[i]
            voiced = phone.tone_hz > 0
            if delay_mode:
                phase = (tick + i * 13) % (burst + quiet)
                voiced = i % 2 == 0 and phase < burst and due > checking_from
                if voiced and phase == 0:
                    phone.onset_sent = time.time()
                    phones[partners[i]].onset_heard = None
            phone.send(voiced)
            lateness.append(now - due)
            if due + TICK_S < end:
                heapq.heappush(queue, (due + TICK_S, i, tick + 1))
            now = time.time()
        if not queue and now > end + 0.2:
            break
        wait = max(0.0, (queue[0][0] if queue else end + 0.2) - now)
        for fd, _ in epoll.poll(min(wait, 0.001) if wait > 0.0002 else 0, 512):
            phone = by_fd[fd]
            packet = phone.receive()
            if packet is None:
                continue
            stamp, payload = packet
            if delay_mode:
                talker = phones[partners[phones.index(phone)]] if phone.onset_heard is None else None
                if talker is not None and talker.onset_sent is not None and is_voiced(payload):
                    phone.onset_heard = stamp
                    phone.delays.append(stamp - talker.onset_sent)
            elif checking_from < stamp < end - 0.1:
                phone.heard.append(payload)
    return report(phones, config, lateness, delay_mode)


def report(
    phones: list[Phone], config: dict[str, Any], lateness: list[float], delay_mode: bool
) -> dict[str, Any]:
    result: dict[str, Any] = {
        "sent": sum(phone.sent for phone in phones),
        "received": sum(phone.received for phone in phones),
        "lost": sum(
            (phone.last_sequence + 65536 * phone.wraps - (phone.first_sequence or 0) + 1) - phone.received
            for phone in phones
            if phone.received
        ),
        "silent_phones": sum(not phone.received for phone in phones),
        "load_late_p99_ms": float(np.percentile(np.array(lateness) * 1000, 99)),
        "load_late_max_ms": float(np.max(lateness) * 1000),
    }
    if delay_mode:
        delays = np.array([delay for phone in phones for delay in phone.delays]) * 1000
        result["delay_ms"] = [float(np.percentile(delays, q)) for q in (5, 50, 95, 99, 100)]
        result["delays"] = int(delays.size)
        return result
    wrong = broken = windows = 0
    for i, phone in enumerate(phones):
        codes = np.frombuffer(b"".join(phone.heard), np.uint8)
        pcm = TABLE[codes].astype(float)
        expected = set(config["hears"][i])
        for start in range(0, pcm.size - WINDOW, WINDOW):
            spectrum = np.abs(np.fft.rfft(pcm[start : start + WINDOW])) / (WINDOW / 2)
            level = AMPLITUDE * 0.25
            heard = {int(bin_) * 10 for bin_ in np.flatnonzero(spectrum > level)}
            windows += 1
            if heard != expected:
                wrong += 1
        for start in range(0, pcm.size - SAMPLES, SAMPLES):
            frame = pcm[start : start + SAMPLES]
            broken += bool(np.abs(frame).max() < 1000)
    result.update(tone_windows=windows, wrong_windows=wrong, broken_frames=broken)
    return result


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.stdin.readline()))), flush=True)
