"""Pages for browsers: the way in at `/`, the calls, and the phones. They hold nothing of any call."""

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
        (
            "style.css",
            *("main.js", "page.js", "server.js", "token.js", "elements.js"),
            *("list.js", "story.js", "lanes.js", "sound.js"),
        ),
    ),
    "/phone": (
        "phone_page",
        ("style.css", "main.js", "call.js", "controls.js", "events.js", "people.js", "sound.js", "keys.js"),
    ),
    "/moq": (
        "moq_page",
        ("main.js", "call.js", "session.js", "wire.js", "sound.js", "microphone.js", "speaker.js"),
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


_CONNECT: Final = "connect-src 'self'"


def add_pages(app: QuartTrio, elsewhere: dict[str, Callable[[], str]]) -> None:
    """Add the routes.

    Args:
        app: gets them.
        elsewhere: by path, the origin that a page may connect to besides its own; "" for none.
    """
    for path, (name, media_type) in ROUTES.items():
        app.add_url_rule(
            path,
            endpoint=f"page {path.replace('.', ' ')}",
            view_func=_asset(name, media_type, elsewhere.get(path)),
            methods=["GET"],
            provide_automatic_options=False,
        )


def _asset(name: str, media_type: str, elsewhere: Callable[[], str] | None) -> Callable[[], Response]:
    policy = PAGE_HEADERS["Content-Security-Policy"]

    def view() -> Response:
        headers = dict(PAGE_HEADERS)
        if elsewhere is not None:
            connect = f"{_CONNECT} {elsewhere()}".rstrip()
            headers["Content-Security-Policy"] = policy.replace(_CONNECT, connect)
        return Response(_content(name), 200, headers, content_type=media_type)

    return view


@cache
def _content(name: str) -> bytes:
    return files("vb.api").joinpath(*name.split("/")).read_bytes()
