"""What the call history has besides commands: recordings as bytes, and the pages that show calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib.resources import files
from typing import Final

from quart import Response, request
from quart.helpers import send_file
from quart_trio import QuartTrio

from vb.api.access import PAGES as PAGE
from vb.api.edge import EdgeEngine
from vb.api.rest import CORS_HEADERS, Replies
from vb.errors import NotAvailable, VbError
from vb.history.edge import CALLS_PATH, find_recording

RECORDING_PATH: Final = CALLS_PATH + "/{id}/recording"
ASSETS: Final = {
    "style.css": "text/css; charset=utf-8",
    "main.js": "text/javascript; charset=utf-8",
    "server.js": "text/javascript; charset=utf-8",
    "elements.js": "text/javascript; charset=utf-8",
    "list.js": "text/javascript; charset=utf-8",
    "story.js": "text/javascript; charset=utf-8",
    "lanes.js": "text/javascript; charset=utf-8",
    "sound.js": "text/javascript; charset=utf-8",
}

PAGE_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def add_calls(app: QuartTrio, engine: EdgeEngine, replies: Replies) -> None:
    """Add the routes."""

    async def recording(id: str) -> Response:
        try:
            if engine.history is None:
                raise NotAvailable("not available: call history (VB_DATABASE_URL is off)")
            found = await engine.history.read(partial(find_recording, call_id=id))
        except VbError as error:
            return replies.failure(error)
        try:
            response = await send_file(found.path, mimetype=found.media_type, conditional=False)
        except OSError:  # it was deleted a moment ago
            return replies.error(404, "the call has no recording")
        await response.make_conditional(request, accept_ranges=True)
        response.headers.update({**CORS_HEADERS, "Cache-Control": "private, no-cache"})
        return response

    app.add_url_rule(
        RECORDING_PATH.replace("{", "<").replace("}", ">"),
        endpoint="get_call_recording",
        view_func=recording,
        methods=["GET"],
        provide_automatic_options=False,
    )
    for path, (name, media_type) in {
        PAGE: ("index.html", "text/html; charset=utf-8"),
        **{f"{PAGE}/{name}": (name, media_type) for name, media_type in ASSETS.items()},
    }.items():
        app.add_url_rule(
            path,
            endpoint=path,
            view_func=_asset(name, media_type),
            methods=["GET"],
            provide_automatic_options=False,
        )


def _asset(name: str, media_type: str) -> Callable[[], Response]:
    def view() -> Response:
        return Response(_content(name), 200, PAGE_HEADERS, content_type=media_type)

    return view


@cache
def _content(name: str) -> bytes:
    return (files("vb.api") / "calls_page" / name).read_bytes()
