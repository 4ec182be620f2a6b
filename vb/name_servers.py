"""Asking for names: the hosts file first, then the name servers, within the time that the caller gives.

dnspython speaks the protocol: it goes on to the next server when one fails, repeats what is lost, turns to
TCP for what is cut short, and passes over answers to other questions. Here stands what it leaves open: the
hosts file, names that no server is asked for, and how large an answer may be.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Any, Final, TypeAlias, cast

import dns.asyncbackend
import dns.asyncquery
import dns.asyncresolver
import dns.exception
import dns.inet
import dns.message
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
import trio
from dns._asyncbackend import Backend

from vb.dns_records import Answer, Kind, LookupFailed, Naptr, Record, Srv
from vb.settings import DNS_PORT, split_name_server

MAX_ANSWER_BYTES: Final = 4096
"""Largest answer that is read: some 250 addresses. Reading takes 2 µs a byte, and others wait meanwhile."""
MAX_RECORDS: Final = 32
TRY_S: Final = 2.0
"""How long one server has for one question before the next is asked."""
OTHER_FAMILY_S: Final = 0.5
"""How long the addresses of one family wait for those of the other."""
HOSTS_FILE: Final = "/etc/hosts"
RESOLVER_FILE: Final = "/etc/resolv.conf"
_LOOPBACK: Final = ("127.0.0.1", "::1")

LookUp: TypeAlias = Callable[[str, Kind, float], Awaitable[Answer]]
"""Finds the records of a name within some seconds; raises LookupFailed when that cannot be done."""


class NameServers:
    """The hosts file and the name servers of this machine, or some name servers of one's own.

    Args:
        servers: addresses of name servers, with or without a port, to ask in place of the system's.
    """

    def __init__(self, servers: Sequence[str] = ()) -> None:
        self._servers = [_Server(*split_name_server(server)) for server in servers]
        self._backend = dns.asyncbackend.get_backend("trio")
        self._files: tuple[object, ...] = ()  # unlike any stamps: the first look-up reads the files
        self._hosts: dict[str, tuple[str, ...]] = {}
        self._resolver = dns.asyncresolver.Resolver(configure=False)

    async def look_up(self, name: str, kind: Kind, within_s: float) -> Answer:
        """Return the records of a name.

        Args:
            name: in lower case.
            kind: which records.
            within_s: how long it may take.

        Raises:
            LookupFailed: there is no telling, as no server answered, or none sensibly.
        """
        try:
            asked = dns.name.from_text(name, None)
            relative = asked.relativize(dns.name.root)
        except (dns.exception.DNSException, UnicodeError):
            return Answer()  # no name that could exist
        if self._files != _stamps():
            await trio.to_thread.run_sync(self._read_files)
        known = self._hosts.get(relative.to_text())
        last = relative.labels[-1:]
        if known is None and last == (b"localhost",):
            known = _LOOPBACK
        if known is not None or last == (b"invalid",) or not relative.labels:
            # Names of this machine have no services elsewhere, and some names never exist (RFC 6761 §6).
            return Answer(known or ()) if kind == "address" else Answer()
        if kind == "address":
            return await self._addresses(asked, within_s)
        if len(relative.labels) < 2:
            return Answer()  # a top-level domain offers no service
        return await self._ask(asked, kind, within_s)

    # -- what the system is set to ---------------------------------------------------------------------------

    def _read_files(self) -> None:
        """Read the system's files; blocks."""
        files = _stamps()
        self._hosts = read_hosts(HOSTS_FILE)
        resolver = dns.asyncresolver.Resolver(configure=False)
        try:
            resolver.read_resolv_conf(RESOLVER_FILE)
        except (OSError, dns.exception.DNSException, ValueError):
            resolver.nameservers = []
        servers = self._servers or [_Server(str(server), DNS_PORT) for server in resolver.nameservers]
        resolver.nameservers = servers or [_Server("127.0.0.1", DNS_PORT)]
        resolver.timeout = TRY_S
        self._resolver, self._files = resolver, files

    # -- questions -------------------------------------------------------------------------------------------

    async def _addresses(self, name: dns.name.Name, within_s: float) -> Answer:
        """Ask for both families at once; once there are addresses the other family has to be quick."""
        found: dict[str, Answer | LookupFailed] = {}

        async def ask(kind: str) -> None:
            try:
                answer: Answer | LookupFailed = await self._ask(name, kind, within_s, search=True)
            except LookupFailed as failure:
                answer = failure
            found[kind] = answer
            if isinstance(answer, Answer) and answer.records:
                nursery.cancel_scope.deadline = trio.current_time() + OTHER_FAMILY_S

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "A")
            nursery.start_soon(ask, "AAAA")
        answers = [answer for answer in found.values() if isinstance(answer, Answer)]
        useful = [answer for answer in answers if answer.records]
        if not useful and len(answers) < 2:
            raise next((f for f in found.values() if isinstance(f, LookupFailed)), LookupFailed("no answer"))
        records = [str(record) for answer in useful for record in answer.records]
        records.sort(key=_rank)
        ttls = [answer.ttl_s for answer in useful if answer.ttl_s is not None]
        return Answer(tuple(records), min(ttls, default=None))

    async def _ask(self, name: dns.name.Name, kind: str, within_s: float, *, search: bool = False) -> Answer:
        try:
            answer = await self._resolver.resolve(
                name,
                kind,
                raise_on_no_answer=False,
                lifetime=within_s,
                search=search,
                backend=self._backend,
            )
        except dns.resolver.NXDOMAIN:
            return Answer()
        except (dns.exception.DNSException, OSError, EOFError, ValueError) as error:
            raise LookupFailed(f"{type(error).__name__}: {error}") from error
        ttl_s = max(0.0, answer.expiration - time.time())
        records = [] if answer.rrset is None else [_record(kind, item) for item in answer.rrset]
        return Answer(tuple(records[:MAX_RECORDS]), ttl_s)


class _Server(dns.nameserver.Do53Nameserver):
    """A name server of which only so much is read at a time."""

    async def async_query(
        self,
        request: dns.message.QueryMessage,
        timeout: float,
        source: str | None,
        source_port: int,
        max_size: bool,
        backend: Backend,
        one_rr_per_rrset: bool = False,
        ignore_trailing: bool = False,
    ) -> dns.message.Message:
        """Ask over UDP, or over TCP for all there is (`max_size`)."""
        family = dns.inet.af_for_address(self.address)
        kind = socket.SOCK_STREAM if max_size else socket.SOCK_DGRAM
        there = (self.address, self.port) if max_size else None
        sock = await cast(Any, backend).make_socket(family, kind, 0, None, there, timeout)
        async with sock:
            ask = partial(
                dns.asyncquery.tcp if max_size else dns.asyncquery.udp,
                request,
                self.address,
                timeout,
                self.port,
                sock=_Limited(sock),
            )
            if max_size:
                return await ask()
            return await ask(ignore_unexpected=True, ignore_errors=True, raise_on_truncation=True)


class _Limited:
    """A socket of dnspython's that gives no more than one answer may have."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._left = MAX_ANSWER_BYTES + 2  # over TCP two bytes tell the length

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    async def recvfrom(self, _size: int, timeout: float | None) -> Any:
        # What is longer is cut here, and then is no message any more.
        return await self._sock.recvfrom(MAX_ANSWER_BYTES, timeout)

    async def recv(self, size: int, timeout: float | None) -> Any:
        if size > self._left:
            raise EOFError("the answer is too large")
        data = await self._sock.recv(size, timeout)
        self._left -= len(data)
        return data


def _record(kind: str, item: Any) -> Record:
    if kind == "SRV":
        return Srv(item.priority, item.weight, item.port, _host(item.target))
    if kind == "NAPTR":
        flags, service = (part.decode("latin-1") for part in (item.flags, item.service))
        return Naptr(item.order, item.preference, flags.lower(), service.upper(), _host(item.replacement))
    return str(item.address)


def _host(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _rank(address: str) -> int:
    """Sort IPv4 first, then IPv6, then what this machine has no route to.

    To connect a UDP socket asks the kernel for a route and sends nothing.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, DNS_PORT))
        except OSError:
            return 2
    return 0 if ":" in address else 1


def read_hosts(path: str) -> dict[str, tuple[str, ...]]:
    """Return the addresses of each name in a hosts file, in its order; none when it cannot be read."""
    found: dict[str, tuple[str, ...]] = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                address, *names = line.partition("#")[0].split() or [""]
                try:
                    address = str(ip_address(address))
                except ValueError:
                    continue
                for name in {name.lower().rstrip(".") for name in names}:
                    found[name] = (*found.get(name, ()), address)
    except OSError:
        pass
    return found


def is_address(host: str) -> bool:
    """Tell whether a host is a literal address, which needs no look-up."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _stamps() -> tuple[object, ...]:
    """Return what changes when one of the system's files does."""
    return tuple(_stamp(path) for path in (HOSTS_FILE, RESOLVER_FILE))


def _stamp(path: str) -> object:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino
