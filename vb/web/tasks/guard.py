"""From the host of a URL to the addresses that may be connected to."""

from __future__ import annotations

from vb.metrics import Reading
from vb.names import NameLookup, Resolve
from vb.web.errors import HostUnknown
from vb.web.place import Place
from vb.web.policy import FetchPolicy, UrlTarget


class Guard:
    """Judges hosts by the addresses that they have now.

    Args:
        policy: what hosts of requests and callers may be; the operator's are trusted.
        names: looks up the hosts of requests and callers.
        own_names: looks up the operator's hosts, which must not wait behind those.
    """

    def __init__(self, policy: FetchPolicy, names: Resolve, own_names: Resolve | None = None) -> None:
        self.policy = policy
        self._names = names
        self._own_names = own_names or names

    def readings(self) -> list[Reading]:
        """Return gauges of both kinds of look-ups for the metrics."""
        lookups = [names for names in (self._names, self._own_names) if isinstance(names, NameLookup)]
        return [reading for lookup in lookups for reading in lookup.readings()]

    async def judge(self, target: UrlTarget, *, trusted: bool = False) -> Place:
        """Look a host up once and return the place that it is.

        Args:
            target: the URL.
            trusted: the operator has set it; then every address is good.

        Raises:
            UrlRefused: it may not be connected to.
            HostUnknown: it cannot be resolved.
        """
        if target.address is not None:
            found: tuple[str, ...] = (target.host,)
        else:
            resolve = self._own_names if trusted else self._names
            try:
                found = tuple(dict.fromkeys(await resolve(target.host, target.port)))
            except OSError:
                found = ()
            if not found:
                raise HostUnknown(f"host {target.host} cannot be resolved")
        if not trusted:
            found = tuple(str(address) for address in self.policy.choose(target, found))
        return Place(target.secure, target.host, target.port, found)
