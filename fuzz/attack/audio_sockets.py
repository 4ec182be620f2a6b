"""S23, S24: audio WebSockets that lie, send garbage or far too much, or never read."""

from __future__ import annotations

import base64
import json
import random
import time

from fuzz.attack.briefing import Address, Briefing, check, figure, pause
from fuzz.attack.vsi_abuse import Client, broken_frames, endless_fragments

S23, S24 = "S23 hostile WebSockets", "S24 hostile audio"
LEGS = "/v1/legs/websocket"
ROOM = "hostile-audio"


def run(briefing: Briefing) -> None:
    """Attack legs and the WebSocket of a room."""
    chance = random.Random(briefing.seed)
    broken_frames(briefing.http, LEGS)
    endless_fragments(briefing.http, LEGS)
    _noise(briefing.http, chance, 50 if briefing.quick else 500)
    _garbage(briefing.http, chance, 200 if briefing.quick else 3000)
    _flood(briefing.http, chance, 2.0 if briefing.quick else 10.0)
    _deaf(briefing.http, 7.0)
    _check_alive(briefing.http)


def _noise(address: Address, chance: random.Random, count: int) -> None:
    """Bytes that are no frames."""
    stayed = 0
    for _ in range(count):
        client = Client(address, path=LEGS)
        try:
            client.sock.sendall(chance.randbytes(chance.randint(1, 3000)))
        except OSError:
            pass
        stayed += client.close_code(0.02) is None
        client.close()
    figure(S23, f"{count} times bytes that are no frames; {stayed} waited for more")


def _garbage(address: Address, chance: random.Random, count: int) -> None:
    """Whole frames with audio of odd sizes and text that is no audio."""
    for query in ("?wire_format=binary", "?wire_format=json_base64&rtt=1"):
        client = Client(address, query, path=LEGS)
        taken = 0
        for _ in range(count):
            junk = chance.randbytes(chance.randint(0, 700))
            text = base64.b64encode(junk).decode()[: chance.randint(0, 900)]
            message = chance.choice(
                [
                    junk,
                    json.dumps({"audio": text}).encode(),
                    json.dumps(
                        {"type": "audio", "audio": chance.choice([None, 1, [], {}, text + "="])}
                    ).encode(),
                    json.dumps({"type": "text", "text": "\ud800" * 10}).encode(),
                    json.dumps(
                        {"type": "ping", "event_id": chance.choice([1e308, "x" * 1000, [[]]])}
                    ).encode(),
                    b"[" * 500,
                    b"{" + junk.hex().encode(),
                ]
            )
            taken += client.frame(2 if message is junk else 1, message)
        check(S24, taken == count, f"{query}: cut off after {taken} of {count} frames that were whole")
        client.frame(8, b"\x03\xe8")
        check(S24, client.close_code() in (1000, 1009), f"{query}: no goodbye after garbage")
        client.close()


def _flood(address: Address, chance: random.Random, seconds: float) -> None:
    """Audio as fast as the connection takes it, from several at once."""
    clients = [Client(address, f"?room_id={ROOM}", path=LEGS) for _ in range(8)]
    for client in clients:
        client.sock.setblocking(False)
    frame = b"\x82\xfe\x02\x80" + bytes(4) + chance.randbytes(640)
    frames = frame * 21
    sent, deadline = dict.fromkeys(clients, 0), time.monotonic() + seconds
    while time.monotonic() < deadline and clients:
        for client in list(clients):
            try:
                begun = sent[client] % len(frame)  # the system may have taken a part of the last one only
                sent[client] += client.sock.send(frames[begun:])
            except BlockingIOError:
                continue
            except OSError:
                clients.remove(client)
        pause(0.001)
    check(S24, len(clients) == 8, f"{8 - len(clients)} clients were cut off for being too fast")
    times = sum(sent.values()) / seconds / 8 / 32_000
    figure(S24, f"8 clients sent {times:.0f} times as much audio as is heard")
    for client in clients:
        client.close()


def _deaf(address: Address, seconds: float) -> None:
    """Listeners that read nothing, in a room with somebody who speaks."""
    talker = Client(address, f"?room_id={ROOM}", path=LEGS)
    deaf = [Client(address, f"?room_id={ROOM}&sample_rate=48000", path=LEGS) for _ in range(5)]
    deaf += [Client(address, path=f"/v1/rooms/{ROOM}/ws") for _ in range(5)]
    check(S23, all(client.status == 101 for client in deaf), "a listener was refused")
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        talker.frame(2, bytes(640))
        pause(0.02)
    figure(S23, f"{len(deaf)} listeners that read nothing for {seconds:g} s")
    for client in (talker, *deaf):
        client.close()


def _check_alive(address: Address) -> None:
    client = Client(address, path=LEGS)
    client.sock.settimeout(3)
    data = b""
    try:
        while b"pcm_s16le" not in data:
            chunk = client.sock.recv(4096)
            if not chunk:
                break
            data += chunk
    except OSError:
        pass
    check(S24, b"pcm_s16le" in data, "a new program is not welcomed after all of it")
    client.close()
