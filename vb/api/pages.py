"""Pages for browsers: the way in at `/`, the calls, and the phone. They hold nothing of any call."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Final

from quart import Response
from quart_trio import QuartTrio

_STYLE: Final = "text/css; charset=utf-8"
_SCRIPT: Final = "text/javascript; charset=utf-8"
_HTML: Final = "text/html; charset=utf-8"

_FILES: Final = {
    "/calls": (
        "calls_page",
        ("style.css", "main.js", "server.js", "elements.js", "list.js", "story.js", "lanes.js", "sound.js"),
    ),
    "/phone": (
        "phone_page",
        ("style.css", "main.js", "call.js", "events.js", "people.js", "sound.js", "keys.js"),
    ),
}
"""Folder of each page, and its files besides `index.html`."""

ROUTES: Final = {
    "/": ("home_page/index.html", _HTML),
    "/docs/filter.js": ("docs_filter/filter.js", _SCRIPT),
    **{path: (f"{folder}/index.html", _HTML) for path, (folder, _) in _FILES.items()},
    **{
        f"{path}/{name}": (f"{folder}/{name}", _STYLE if name.endswith(".css") else _SCRIPT)
        for path, (folder, names) in _FILES.items()
        for name in names
    },
}
"""File and media type of what is served under each path."""

PAGE_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def add_pages(app: QuartTrio) -> None:
    """Add the routes."""
    for path, (name, media_type) in ROUTES.items():
        app.add_url_rule(
            path,
            endpoint=f"page {path.replace('.', ' ')}",
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
    return files("vb.api").joinpath(*name.split("/")).read_bytes()
