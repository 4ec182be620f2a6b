"""Labels: what calls are found by exactly, such as agents, voices and metadata, each hashed to a number."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final


def _hashed(kind: bytes, *parts: str) -> int:
    """Return 63 bits of a hash; parts are told apart, whatever characters they have."""
    text = b"".join(struct.pack(">I", len(part)) + part for part in (item.encode() for item in parts))
    digest = hashlib.blake2b(text, digest_size=8, person=kind).digest()
    return int.from_bytes(digest) >> 1


def agent_label(agent_id: str) -> int:
    """Return the label of calls of an agent."""
    return _hashed(b"agent", agent_id.lower())


def voice_label(voice_id: str) -> int:
    """Return the label of calls with a voice."""
    return _hashed(b"voice", voice_id.lower())


def metadata_label(key: str, value: str) -> int:
    """Return the label of calls with a piece of metadata."""
    return _hashed(b"metadata", key, value)


def word_term(word: str) -> int:
    """Return the number under which segments keep which calls have a word."""
    return _hashed(b"word", word)


SEVERAL_AGENTS: Final = _hashed(b"agents", "several")
"""Label of calls that had more than one agent, so that counts of agents can be put right."""


def labels_of(document: Mapping[str, Any]) -> list[int]:
    """Return the labels of a call in a fixed order, each once."""
    return sorted(set(_labels(document)))


def _labels(document: Mapping[str, Any]) -> Iterator[int]:
    agents = {item.get("agent_id") for item in document.get("agents", ())} | {document.get("agent_id")}
    labels = {agent_label(agent_id) for agent_id in agents if agent_id}
    yield from labels
    if len(labels) > 1:
        yield SEVERAL_AGENTS
    if document.get("voice_id"):
        yield voice_label(document["voice_id"])
    for key, value in document.get("metadata", {}).items():
        yield metadata_label(key, value)


def pack_labels(labels: list[int]) -> bytes:
    """Return labels as the row of their call keeps them."""
    return struct.pack(f">{len(labels)}q", *labels)


def unpack_labels(packed: bytes) -> list[int]:
    """Return what `pack_labels` was given."""
    return list(struct.unpack(f">{len(packed) // 8}q", packed))
