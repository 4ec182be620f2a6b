"""The arguments of `vb models`; apart from what carries them out, which takes a while to load."""

from __future__ import annotations

from typing import Any


def add_parser(commands: Any) -> None:
    """Add `models` and its commands to a parser's."""
    models = commands.add_parser(
        "models",
        help="list and fetch voices and models for local speech",
        description="Look after voices and models in VB_MODELS_DIR. The server itself never downloads any.",
    )
    verbs = models.add_subparsers(dest="verb", required=True, metavar="list | fetch")
    verbs.add_parser("list", help="list what can be used, and what can be fetched by its name")
    fetch = verbs.add_parser(
        "fetch",
        help="download a voice or model and check its SHA-256",
        description="Download a voice by its name, or a model from a URL, a file or an archive. It is put in "
        "place when its SHA-256 is right, and known by its name after the next start of the server.",
    )
    fetch.add_argument("name", help="what requests will call it")
    fetch.add_argument("--from", dest="url", metavar="URL", help="where a model lies that has no entry here")
    fetch.add_argument("--sha256", metavar="HEX", help="of what lies there")
