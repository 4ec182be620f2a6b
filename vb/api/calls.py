"""What the call history has besides commands: recordings as bytes."""

from __future__ import annotations

from functools import partial
from typing import Final

from quart import Response, request
from quart.helpers import send_file
from quart_trio import QuartTrio

from vb.api.edge import EdgeEngine
from vb.api.rest import CORS_HEADERS, Replies
from vb.errors import NotAvailable, VbError
from vb.history.edge import CALLS_PATH, find_recording

RECORDING_PATH: Final = CALLS_PATH + "/{id}/recording"


def add_calls(app: QuartTrio, engine: EdgeEngine, replies: Replies) -> None:
    """Add the route."""

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
