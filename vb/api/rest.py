"""REST: every registered command under its route.

Path, body and query become the parameters of the command; the path wins over the body and the body over the
query, which counts only where an operation has no body, and is read as `vb.commands.query` says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from quart import Response, request
from quart_trio import QuartTrio

from vb.api.edge import CommandRunner
from vb.api.encoding import parse_body, to_line
from vb.commands.query import read_query, split_query
from vb.commands.registry import REGISTRY, parse_params
from vb.errors import InvalidField, VbError

CORS_HEADERS: Final = {"Access-Control-Allow-Origin": "*"}
PREFLIGHT_HEADERS: Final = {
    **CORS_HEADERS,
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Authorization, X-API-Key",
}


class Replies:
    """Builds JSON responses, which all say which instance gave them.

    Args:
        instance_id: first key of every object.
    """

    def __init__(self, instance_id: str) -> None:
        self._instance_id = instance_id

    def json(self, status: int, data: Any, headers: Mapping[str, str] | None = None) -> Response:
        """Return a response of JSON data; lists go out as they are."""
        body = {"instance_id": self._instance_id, **data} if isinstance(data, dict) else data
        return Response(
            to_line(body), status, {**CORS_HEADERS, **(headers or {})}, content_type="application/json"
        )

    def error(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
        """Return an error."""
        return self.json(status, {"error": message}, headers)

    def error_body(self, message: str) -> bytes:
        """Return the bytes of an error's body."""
        return to_line({"instance_id": self._instance_id, "error": message})

    def failure(self, error: VbError) -> Response:
        """Return a refused or failed command."""
        retry_after_s = error.retry_after_s
        headers = None if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        return self.error(error.status, error.message, headers)


def add_commands(app: QuartTrio, runner: CommandRunner, replies: Replies, address: Callable[[], str]) -> None:
    """Add a route for every registered command.

    Args:
        app: gets the routes.
        runner: runs the commands.
        replies: builds the answers.
        address: returns scheme and host of the request at hand, as its client sees them.
    """
    for name, command in REGISTRY.items():
        app.add_url_rule(
            command.route.path.replace("{", "<").replace("}", ">"),
            endpoint=name,
            view_func=_operation(name, runner, replies, address),
            methods=[command.route.method],
            provide_automatic_options=False,
        )


def _completed(data: Mapping[str, Any], names: Iterable[str], address: str) -> dict[str, str]:
    """Return links of an answer with the address of this server before them."""
    return {name: address + data[name] for name in names if data.get(name)}


def _operation(
    name: str, runner: CommandRunner, replies: Replies, address: Callable[[], str]
) -> Callable[..., Awaitable[Response]]:
    async def operation(**path: str) -> Response:
        command = REGISTRY[name]
        route = command.route
        try:
            body = parse_body(await request.get_data(cache=False, as_text=False, parse_form_data=False))
            query = {} if route.body else read_query(command.params, split_query(request.query_string))
            fields = route.path_fields
            named = {fields[parameter]: value for parameter, value in path.items()}
            params = parse_params(command.params, {**query, **route.from_body(body), **named})
            data = await runner.run(command, params)
            if route.links:
                data |= _completed(data, route.links, address())
        except InvalidField as error:
            return replies.failure(route.in_body(error))
        except VbError as error:
            return replies.failure(error)
        return replies.json(route.status, data)

    return operation
