"""Tell by the exit status whether the server here takes calls: the health check of the container.

It asks `/readyz` of the address in `HTTP_ADDR`, and needs the standard library only.
"""

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException

TIMEOUT_S = 2.0
DEFAULT = ":8080"
LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a server answers that listens on all addresses."""


def connect_to(http_addr: str) -> tuple[str, int]:
    """Return host and port under which a server with this `HTTP_ADDR` can be reached from its own machine.

    Raises:
        ValueError: no server can have it.
    """
    host, colon, port = http_addr.rpartition(":")
    if not (colon and port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError
    host = host.strip("[]")
    return LOOPBACK.get(host, host), int(port)


def main() -> int:
    """Print what is wrong, if anything, and return the exit status."""
    http_addr = os.environ.get("HTTP_ADDR", "").strip()  # noqa: TID251 -- it stands alone, without vb's settings
    try:
        host, port = connect_to(http_addr or DEFAULT)  # to the server, too, an empty value is none
    except ValueError:
        print(f"not ready: HTTP_ADDR: {http_addr!r} is not host:port, :port or [ipv6]:port")
        return 1
    connection = HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
    except (OSError, HTTPException, UnicodeError) as exc:
        print(f"not ready: {exc!r}")
        return 1
    finally:
        connection.close()
    if status != 200:
        print(f"not ready: /readyz answers {status}")
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
