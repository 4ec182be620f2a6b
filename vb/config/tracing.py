"""Settings of traces, by the names that OpenTelemetry gives them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, SecretStr

from vb.settings import Group, check_url, setting


def _check_headers(value: SecretStr) -> SecretStr:
    for part in filter(None, value.get_secret_value().split(",")):
        name, equals, text = part.partition("=")
        if not equals or not name.strip() or not (name + text).isprintable() or not (name + text).isascii():
            raise ValueError("is a list of name=value, with commas between them")
    return value


class TracingConfig(Group):
    """Where traces of calls go to."""

    endpoint: Annotated[str, AfterValidator(check_url)] = setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "collector of traces, OTLP over HTTP, such as http://127.0.0.1:4318; empty = none",
        "",
    )
    headers: Annotated[SecretStr, AfterValidator(_check_headers)] = setting(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "headers that the collector wants, name=value,...",
        SecretStr(""),
        shown="",
    )
    service_name: str = setting("OTEL_SERVICE_NAME", "what the collector calls this server", "vb")

    def header_pairs(self) -> Iterator[tuple[str, str]]:
        """Return the headers."""
        for part in filter(None, self.headers.get_secret_value().split(",")):
            name, _, value = part.partition("=")
            yield name.strip(), value.strip()
