"""Which content codings of an answer change its bytes."""

from typing import Final

_REAL: Final = frozenset(
    (
        "aes128gcm", "base64", "br", "bzip2", "compress", "dcb", "dcz", "deflate", "exi", "gzip",
        "lz4", "lzma", "pack200-gzip", "quoted-printable", "sdch", "snappy", "x-bzip2", "x-compress",
        "x-gzip", "xz", "zstd",
    )
)  # fmt: skip
"""Codings that are registered or were used by servers, and alter the bytes."""


def is_coded(content_encoding: str) -> bool:
    """Say whether the bytes of a body are not the ones that were stored.

    Storage services give back as Content-Encoding whatever was stored with an object: a character set
    (``UTF-8``), the way it was uploaded (``aws-chunked``), or a word that means nothing (``binary``). None of
    these is a coding, and the body is as it was.

    Spec: RFC 9110 section 8.4.1.
    """
    return any(word.strip().lower() in _REAL for word in content_encoding.split(","))
