"""What the open files of a process are: names instead of numbers, so that what is left can be told."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Final

_KINDS: Final = ("tcp", "tcp6", "udp", "udp6", "unix")
_LISTEN: Final = "0A"
"""State of a TCP socket that accepts others, as the kernel writes it (proc(5), /proc/net/tcp)."""


def open_files(pid: int) -> Counter[str]:
    """Return how many of each kind are open: connections by the port that they lead to."""
    sockets = _sockets(pid)
    found: Counter[str] = Counter()
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{number}")
        except OSError:  # closed since
            continue
        kind, _, rest = target.partition(":")
        if kind == "socket":
            target = sockets.get(rest.strip("[]"), "socket of another kind")
        elif kind == "pipe":
            target = kind
        found[target] += 1
    return found


def connections_to(port: int) -> str:
    """Return what connections to a port are called."""
    return f"TCP connection to port {port}"


def _sockets(pid: int) -> dict[str, str]:
    """Return what each socket of its network is, by inode."""
    found: dict[str, str] = {}
    for kind in _KINDS:
        rows = [line.split() for line in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]]
        if kind == "unix":
            found |= {row[6]: "Unix socket" for row in rows}
        elif kind.startswith("udp"):
            found |= {row[9]: "UDP socket" for row in rows}
        else:
            found |= _tcp(rows)
    return found


def _tcp(rows: list[list[str]]) -> dict[str, str]:
    accepting = {row[1].rpartition(":")[2] for row in rows if row[3] == _LISTEN}
    found = {}
    for row in rows:
        local, remote = (address.rpartition(":")[2] for address in row[1:3])
        if row[3] == _LISTEN:
            found[row[9]] = "TCP socket that accepts connections"
        elif local in accepting:
            found[row[9]] = "accepted TCP connection"
        else:
            found[row[9]] = connections_to(int(remote, 16))
    return found
