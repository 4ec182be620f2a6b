"""The pool of UDP ports for media: an even port for RTP with the odd one above it for RTCP.

Spec: RFC 3550 §11.
"""

from collections import deque

OS_CHOSEN = 0
"""The pool has no range of its own: bind any free pair whose first port is even."""


class PortsExhausted(Exception):
    """Every port pair of the pool is taken."""


class PortPool:
    """Hands out port pairs, the one unused for longest first, so that late packets of a call find nobody.

    Args:
        first: lowest port of the range; 0 with `last` 0 leaves the choice to the operating system.
        last: highest port of the range, inclusive.

    Raises:
        ValueError: the range holds no pair, or is not within 1 to 65535.
    """

    def __init__(self, first: int, last: int) -> None:
        self.os_chosen = first == last == OS_CHOSEN
        if not self.os_chosen and not 0 < first <= last <= 65535:
            raise ValueError(f"{first} to {last} is no range of ports")
        pairs = () if self.os_chosen else range(first + first % 2, last, 2)
        if not self.os_chosen and not pairs:
            raise ValueError(f"{first} to {last} holds no even port with an odd one above it")
        self.capacity = len(pairs)
        """Number of pairs, 0 when the operating system chooses."""
        self._free = deque(pairs)
        self._taken: set[int] = set()

    @property
    def free(self) -> int:
        """How many pairs are left."""
        return len(self._free)

    def take(self) -> int:
        """Return the even port of a pair that is the caller's until released, or `OS_CHOSEN`.

        A caller that cannot bind the pair releases it, which puts it last, and takes another one.

        Raises:
            PortsExhausted: no pair is left.
        """
        if self.os_chosen:
            return OS_CHOSEN
        if not self._free:
            raise PortsExhausted(f"all {self.capacity} RTP port pairs are in use")
        port = self._free.popleft()
        self._taken.add(port)
        return port

    def release(self, port: int) -> None:
        """Give a pair back; one that is not taken changes nothing."""
        if port in self._taken:
            self._taken.remove(port)
            self._free.append(port)
