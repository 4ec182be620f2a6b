"""Servers in memory behind the real guard: what a request may reach, and where it would connect to."""

from collections.abc import Awaitable, Callable, Iterable

import httpx

from vb.names import NameLookup, Resolve
from vb.web.place import Place
from vb.web.policy import FetchPolicy
from vb.web.tasks.client import WebClient
from vb.web.tasks.dial import Dialer
from vb.web.tasks.guard import Guard
from vb.web.tasks.transport import GuardedTransport

Answer = Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]


class NoDialer(Dialer):
    """Connects to nothing."""

    async def __call__(self, place: Place) -> None:  # type: ignore[override]  # it never returns
        raise AssertionError("nobody connects here")


class FakeTransport(GuardedTransport):
    """Judges requests as the real one does; those that pass are answered here.

    Attributes:
        requests: those that passed.
        places: where each would have gone.
    """

    def __init__(self, guard: Guard, answer: Answer) -> None:
        super().__init__(guard, NoDialer())
        self._answer = answer
        self.requests: list[httpx.Request] = []
        self.places: list[Place] = []

    async def forward(self, request: httpx.Request, place: Place) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        self.places.append(place)
        answer = self._answer(request)
        response = answer if isinstance(answer, httpx.Response) else await answer
        if not response.is_stream_consumed:
            return response
        # Its body was given as a whole; the network's comes as it is read.
        stream = httpx.ByteStream(response.content)
        return httpx.Response(response.status_code, headers=response.headers, stream=stream)


class FakeWeb(WebClient):
    """A way out that ends in memory.

    Args:
        answer: answers what passes the guard.
        resolve: host look-up.
        allow: what the operator opens.
    """

    def __init__(self, answer: Answer, resolve: Resolve, allow: Iterable[str] = ()) -> None:
        guard = Guard(FetchPolicy.parse(allow), resolve)
        self.fake = FakeTransport(guard, answer)
        super().__init__(guard, NoDialer(), user_agent="vb-test", transport=self.fake)


def local_web(
    allow: Iterable[str] = (), resolve: Resolve | None = None, dialer: Dialer | None = None
) -> WebClient:
    """Return a real way out that may use loopback where `allow` says so."""
    return WebClient(Guard(FetchPolicy.parse(allow), resolve or NameLookup("requests")), dialer or Dialer())
