"""The web application: commands, VSI, metrics, health and documents behind one set of path rules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, cast
from urllib.parse import parse_qs, urlsplit

import structlog
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope, WebsocketScope
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from vb.api.access import AccessRefusal, WrongTokens, access_of, is_open, warn_of_short_tokens
from vb.api.calls import add_calls
from vb.api.documents import Documents
from vb.api.edge import CommandRunner, EdgeEngine
from vb.api.encoding import MAX_BODY_BYTES
from vb.api.flow import Flow
from vb.api.media_socket import ServerSocket
from vb.api.moq import NAME as MOQ_NAME
from vb.api.moq import SessionGuard, listener_facts, listener_origin, plain_refusal
from vb.api.pages import add_pages
from vb.api.patterns import Pattern, PatternError
from vb.api.pieces import Pieces
from vb.api.rest import CORS_HEADERS, PREFLIGHT_HEADERS, Replies, add_commands
from vb.api.sockets import SOCKETS, SocketRoute, find_socket
from vb.api.vsi import CLOSE_GOING_AWAY, Receive, Send, VsiSession
from vb.errors import VbError, first_of
from vb.metrics import CONTENT_TYPE, Reading
from vb.moqleg.request import PATH as MOQ_PATH
from vb.quic.tasks import Listener
from vb.storage.base import StorageError
from vb.wsleg.request import UpgradeRequest

log = structlog.get_logger(__name__)

VSI_PATH: Final = "/v1/vsi"
PROTOCOL: Final = "vb"
"""The WebSocket subprotocol that clients may offer, and have to beside a token."""
BODY_TIMEOUT_S: Final = 30
_NO_PATH: Final = "/-"
"""A path that no operation has."""

PAGES: Final = ("/healthz", "/readyz", "/metrics", "/openapi.json", "/asyncapi.json", "/docs", VSI_PATH)
"""What is served besides the routes of the commands, all with GET."""


class Application(QuartTrio):
    """The ASGI application of one server.

    Attributes:
        runner: runs commands for REST and VSI.
    """

    def __init__(self, engine: EdgeEngine) -> None:
        super().__init__("vb.api", static_folder=None)
        self.engine = engine
        self.runner = CommandRunner(engine)
        self.replies = Replies(engine.instance_id)
        self.documents = Documents()
        warn_of_short_tokens(token.get_secret_value() for token in engine.config.http.api_tokens)
        self.access = access_of(engine.config.http)
        self.wrong_tokens = WrongTokens(engine.metrics)
        self.moq_listener: Callable[[], Listener | None] = lambda: None
        self._sessions: set[VsiSession] = set()
        self._media: set[ServerSocket] = set()
        self._closing = False
        self.url_map.strict_slashes = True
        self.url_map.merge_slashes = False
        self.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
        self.config["BODY_TIMEOUT"] = BODY_TIMEOUT_S
        self.config["RESPONSE_TIMEOUT"] = None

    async def asgi_app(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Answer what the path rules decide at once, and hand the rest on."""
        if scope["type"] == "websocket" and scope["path"] == VSI_PATH:
            await self._serve_vsi(scope, cast(Receive, receive), cast(Send, send))
        elif scope["type"] == "websocket":
            await self._serve_media(scope, cast(Send, send))
        elif scope["type"] == "http" and scope["method"] == "OPTIONS":
            await _answer_preflight(cast(Send, send))
        elif scope["type"] == "http" and (refusal := self._refusal(scope)) is not None:
            await _answer_refusal(refusal, self.replies.error_body(refusal.message), cast(Send, send))
        elif scope["type"] == "http":
            path = _origin_path(scope["path"])
            if not is_open(path):
                _admit(scope)
            try:
                await super().asgi_app({**scope, "path": path}, receive, send)
            except* StorageError as failures:  # the answer has begun, and can only be cut off
                problem = first_of(failures)
                log.warning("recording breaks off", path=scope["path"], problem=str(problem))
        else:
            await super().asgi_app(scope, receive, send)

    def _refusal(self, scope: HTTPScope) -> AccessRefusal | None:
        headers = list(scope["headers"])
        client = scope["client"]
        upgrade = any(name == b"upgrade" for name, _ in headers)
        path = _origin_path(scope["path"])
        refusal = self.access.refuse(path, client[0] if client else None, headers, upgrade=upgrade)
        if refusal is None or refusal.guessed_by is None:
            return refusal
        return self.wrong_tokens.answer(refusal.guessed_by, trio.current_time())

    def accepts_upgrade(
        self,
        path: str,
        query: bytes,
        headers: Sequence[tuple[bytes, bytes]] = (),
        client_host: str | None = None,
    ) -> bool:
        """Say whether a request to upgrade becomes a WebSocket; if not it is answered as a plain GET."""
        if self._closing:
            return False
        found = None if path == VSI_PATH else find_socket(path)
        if path != VSI_PATH and found is None:
            return False
        if self.access.refuse(path, client_host, headers, upgrade=True) is not None:
            return False  # a wrong token is counted when it is answered
        try:
            if found is None:
                app_filter(query)
            else:
                route, parameters = found
                route.check(self.engine, UpgradeRequest(parameters, query, headers), True)
        except (PatternError, VbError):
            return False
        return True

    async def _serve_vsi(self, scope: WebsocketScope, receive: Receive, send: Send) -> None:
        _admit(scope)
        flow: Flow = scope["state"]["flow"]
        events = app_filter(scope["query_string"])
        session = VsiSession(
            self.engine, self.runner, events, receive, send, flow.refused_for, _protocol(scope)
        )
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)

    def address(self) -> str:
        """Return scheme and host of the request at hand, as its client sees them."""
        scheme = request.scheme
        if self.engine.config.http.trust_proxy_headers:
            forwarded = request.headers.get("X-Forwarded-Proto", "").split(",")[0].strip().lower()
            scheme = forwarded if forwarded in ("http", "https") else scheme
        return f"{scheme}://{request.host}" if request.host else ""

    async def _serve_media(self, scope: WebsocketScope, send: Send) -> None:
        """Serve a WebSocket that carries audio, whose request has been found good."""
        _admit(scope)
        path = scope["raw_path"].partition(b"?")[0].decode("ascii")
        found = find_socket(path)
        assert found is not None
        route, parameters = found
        await send({"type": "websocket.accept", "subprotocol": _protocol(scope), "headers": []})
        socket = ServerSocket(scope["state"]["flow"])
        if not scope["state"]["hand_over"](socket):
            return
        request = UpgradeRequest(parameters, scope["query_string"], list(scope["headers"]))
        self._media.add(socket)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(socket.write)
                await route.serve(self.engine, request, socket)
                nursery.cancel_scope.cancel()
        finally:
            self._media.discard(socket)

    def close_sessions(self) -> None:
        """Close every WebSocket because the server goes away, and take no more."""
        self._closing = True
        for socket in tuple(self._media):
            socket.close(CLOSE_GOING_AWAY)
        for session in tuple(self._sessions):
            session.close(CLOSE_GOING_AWAY)

    def guard(self) -> SessionGuard:
        """Return who lets sessions in that are not opened here, by the same rules."""
        return SessionGuard(self.access, self.wrong_tokens)

    def readings(self) -> list[Reading]:
        """Return the gauges of the edge itself."""
        return [("vsi_clients", "VSI clients that are connected now", len(self._sessions), {})]


def _admit(scope: HTTPScope | WebsocketScope) -> None:
    """Tell the connection that it is no stranger's; only real ones want to know."""
    admitted = scope["state"].get("admitted")
    if admitted is not None:
        admitted()


def _protocol(scope: WebsocketScope) -> str | None:
    """Return the subprotocol to choose: browsers that offer any insist on one, and a token is never it."""
    return PROTOCOL if PROTOCOL in scope["subprotocols"] else None


def _origin_path(path: str) -> str:
    """Return the path to route: Quart would stumble over an empty one and drop the first of two slashes."""
    if path.startswith(("http://", "https://")):
        try:
            path = urlsplit(path).path
        except ValueError:  # brackets that hold no address
            return _NO_PATH
    return path if path.startswith("/") and not path.startswith("//") else _NO_PATH


def app_filter(query: bytes) -> Pattern | None:
    """Return the filter in the query of a VSI request; None when there is none.

    Raises:
        PatternError: it is no valid expression.
    """
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("app_id", [""])
    return Pattern(values[0]) if values[0] else None


def create_app(engine: EdgeEngine) -> Application:
    """Build the application of a server from the registered commands."""
    app = Application(engine)
    add_commands(app, app.runner, app.replies, app.address)
    add_calls(app, engine, app.replies)
    _add_documents(app)
    _add_moq(app)
    _add_sockets(app)
    add_pages(app, {"/moq": lambda: listener_origin(app.moq_listener(), request.host)})
    _add_error_handlers(app)
    for rule in app.url_map.iter_rules():
        # HEAD is a method of its own here, and no operation has it.
        cast(set[str], rule.methods).discard("HEAD")
    engine.metrics.add_source(app.readings)
    return app


async def _answer_refusal(refusal: AccessRefusal, body: bytes, send: Send) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in refusal.headers]
    headers += [(name.lower().encode(), value.encode()) for name, value in CORS_HEADERS.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _answer_preflight(send: Send) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in PREFLIGHT_HEADERS.items()]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _add_documents(app: Application) -> None:
    """Serve what tells of the server: whether it is well, its figures, and the documents of its API."""

    async def health() -> Response:
        return app.replies.json(200, {"status": "ok"})

    async def readiness() -> Response:
        if app.engine.ready and not app.engine.stopping:
            problems = app.engine.problems  # none of them keeps the server from taking calls
            return app.replies.json(200, {"status": "ready", **({"problems": problems} if problems else {})})
        return app.replies.json(503, {"status": "stopping" if app.engine.stopping else "starting"})

    async def metrics() -> Response:
        return _page(app.engine.metrics.render(), CONTENT_TYPE)

    async def openapi() -> Response:
        return _page(app.documents.current().openapi, "application/json")

    async def asyncapi() -> Response:
        return _page(app.documents.current().asyncapi, "application/json")

    async def docs() -> Response:
        return _page(app.documents.current().html, "text/html; charset=utf-8")

    async def vsi_without_upgrade() -> Response:
        try:
            app_filter(request.query_string)
        except PatternError as error:
            return app.replies.error(400, f"invalid app_id regex: {error}")
        return _upgrade_required(app)

    views: tuple[Callable[[], Awaitable[Response]], ...] = (
        health, readiness, metrics, openapi, asyncapi, docs, vsi_without_upgrade,
    )  # fmt: skip
    for path, view in zip(PAGES, views, strict=True):
        app.add_url_rule(
            path, endpoint=path, view_func=view, methods=["GET"], provide_automatic_options=False
        )


def _add_moq(app: Application) -> None:
    """Say where WebTransport is served, and that plain HTTP is not the way to open a session."""

    async def moq_listener() -> Response:
        return app.replies.json(200, listener_facts(app.moq_listener(), request.host))

    app.add_url_rule(
        "/moq/listener",
        endpoint="moq listener",
        view_func=moq_listener,
        methods=["GET"],
        provide_automatic_options=False,
    )

    async def moq_without_session() -> Response:
        refusal = plain_refusal(app.engine.config.moq)
        headers = {"Allow": "CONNECT"} if refusal.status == 405 else None
        return app.replies.error(refusal.status, refusal.message, headers)

    app.add_url_rule(
        MOQ_PATH,
        endpoint=MOQ_NAME,
        view_func=moq_without_session,
        methods=["POST"],
        provide_automatic_options=False,
    )


def _add_sockets(app: Application) -> None:
    """Answer requests at the paths of WebSockets that do not become one."""
    for route in SOCKETS:
        app.add_url_rule(
            route.path.replace("{", "<").replace("}", ">"),
            endpoint=route.name,
            view_func=_without_upgrade(app, route),
            methods=["GET"],
            provide_automatic_options=False,
        )


def _without_upgrade(app: Application, route: SocketRoute) -> Callable[..., Awaitable[Response]]:
    """Return what answers a request that does not become a WebSocket."""

    async def answer(**parameters: str) -> Response:
        headers = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
        upgrade = any(name == b"upgrade" for name, _ in headers)
        try:
            route.check(app.engine, UpgradeRequest(parameters, request.query_string, headers), upgrade)
        except VbError as error:
            return app.replies.failure(error)
        return _upgrade_required(app)

    return answer


def _upgrade_required(app: Application) -> Response:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    return app.replies.error(426, "a WebSocket upgrade is required", headers)


def _page(body: bytes, content_type: str) -> Response:
    headers = {**CORS_HEADERS, "Content-Length": str(len(body))}
    return Response(Pieces(body), 200, headers, content_type=content_type)


def _add_error_handlers(app: Application) -> None:
    async def not_found(_error: NotFound) -> Response:
        return Response(b"404 page not found\n", 404, CORS_HEADERS, content_type="text/plain; charset=utf-8")

    async def method_not_allowed(error: MethodNotAllowed) -> Response:
        headers = {**CORS_HEADERS, "Allow": ", ".join(sorted(error.valid_methods or ()))}
        return Response(b"", 405, headers, content_type="application/json")

    async def refused(error: HTTPException) -> Response:
        return app.replies.error(error.code or 400, error.name.lower())

    async def failed(_error: Exception) -> Response:
        app.engine.metrics.recovered("api", "request")
        log.exception("request failed", path=request.path)
        return app.replies.error(500, "internal error")

    app.register_error_handler(NotFound, not_found)
    app.register_error_handler(MethodNotAllowed, method_not_allowed)
    app.register_error_handler(HTTPException, refused)
    app.register_error_handler(Exception, failed)
