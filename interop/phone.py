"""One baresip phone as a program: calls, sends a tone, listens, and prints what it heard as one JSON line.

The native stack allows one runtime per process and speaks asyncio, so `interop.phones` starts a subprocess.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

import numpy as np
from baresip import Account, Config, Runtime, UserAgent
from baresip.call import Call
from numpy.typing import NDArray

AMPLITUDE = 8000.0
BIN_HZ = 25
# Baresip's own names, with rate and channels where they are not 8000 and 1.
CODECS = {"PCMU": "PCMU/8000/1", "PCMA": "PCMA/8000/1", "G722": "G722/16000/1", "opus": "opus/48000/2"}


def tone(hz: int, rate_hz: int, start: int, samples: int, channels: int) -> bytes:
    """`samples` frames of a sine, continued from frame number `start`, as interleaved int16."""
    at = np.arange(start, start + samples) / rate_hz
    wave = (AMPLITUDE * np.sin(2 * np.pi * hz * at)).astype(np.int16)
    return np.repeat(wave, channels).tobytes()


def loud_bins(pcm: NDArray[np.int16], rate_hz: int) -> dict[int, float]:
    """Level in dB below full scale of every 25 Hz bin within 40 dB of the loudest, by a windowed FFT."""
    length = rate_hz // BIN_HZ
    windows = len(pcm) // length
    if windows == 0:
        return {}
    frames = pcm[: windows * length].reshape(windows, length) * np.hanning(length)
    amplitude = np.abs(np.fft.rfft(frames, axis=1)).mean(axis=0) * 4 / length / 32768
    level_db = 20 * np.log10(np.maximum(amplitude, 1e-6))
    least_db = max(level_db[4:].max() - 40, -60)
    loud = [number for number in range(4, len(level_db)) if level_db[number] > least_db]
    return {number * BIN_HZ: round(float(level_db[number]), 1) for number in loud}


async def talk(call: Call, hz: int, seconds: float) -> tuple[bytes, int, int]:
    """Send the tone for so long and keep what comes in.

    Returns:
        The received PCM, its rate in Hz and its channel count.
    """
    loop = asyncio.get_running_loop()
    begin, sent, heard = loop.time(), 0, bytearray()
    info = call.audio.info()
    while loop.time() - begin < seconds:
        info = call.audio.info()
        if info.tx_ready:
            # 60 ms ahead of the clock: enough for a busy machine, little enough to stay in step.
            due = int((loop.time() - begin + 0.06) * info.tx_sample_rate)
            call.audio.write(tone(hz, info.tx_sample_rate, sent, due - sent, info.tx_channels))
            sent = due
        if info.rx_ready:
            heard += call.audio.read(1 << 16)
        await asyncio.sleep(0.01)
    return bytes(heard), info.rx_sample_rate, info.rx_channels


async def run(arguments: argparse.Namespace) -> dict[str, object]:
    """Make the call and describe it."""
    runtime = Runtime()
    await runtime.start(Config(net_interface="127.0.0.1"))
    try:
        codecs = tuple(CODECS[name] for name in arguments.codec.split(","))
        account = Account(user="phone", domain="127.0.0.1", password="", reg_interval=0, audio_codecs=codecs)
        agent = await UserAgent.create(runtime, account)
        call = await agent.dial(arguments.to)
        await call.wait_established(timeout=10)
        await asyncio.sleep(arguments.wait)
        heard, rate_hz, channels = await talk(call, arguments.tone, arguments.seconds)
        await call.hangup()
        await asyncio.sleep(0.3)
        pcm = np.frombuffer(heard, np.int16)[:: max(channels, 1)]
        # The last part only: joining and the first buffers are not what is judged.
        judged = pcm[-int(rate_hz * arguments.judge) :]
        stats = call.final_stats
        return {
            "rate_hz": rate_hz,
            "seconds": round(len(pcm) / rate_hz, 2) if rate_hz else 0,
            "bins": loud_bins(judged, rate_hz) if rate_hz else {},
            "sent": stats.tx_packets if stats else 0,
            "received": stats.rx_packets if stats else 0,
        }
    finally:
        await runtime.close()


def main() -> int:
    """Parse the arguments, call, print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", required=True, help="SIP URI to call")
    parser.add_argument("--codec", required=True, help=f"offered codecs in order, of {', '.join(CODECS)}")
    parser.add_argument("--tone", type=int, required=True, help="Hz; a multiple of 25")
    parser.add_argument("--wait", type=float, default=0.5, help="seconds between the answer and the tone")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long to talk")
    parser.add_argument("--judge", type=float, default=1.5, help="seconds at the end that are analysed")
    print(json.dumps(asyncio.run(run(parser.parse_args()))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
