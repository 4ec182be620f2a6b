"""Certificates for the proxy's run: one authority that everybody trusts, and one that nobody does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme

HOSTS = ("127.0.0.1", "localhost")
STRANGER = "elsewhere.example"


@dataclass(frozen=True, slots=True)
class Identity:
    """Files with a certificate chain and its key (PEM)."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Identities:
    """Who is who.

    Attributes:
        authority: file with the trusted authority's certificate.
        honest: names the loopback hosts and is signed by the authority.
        misnamed: signed by the authority, for another host.
        forged: names the loopback hosts, signed by an authority that nobody trusts.
    """

    authority: Path
    honest: Identity
    misnamed: Identity
    forged: Identity


def _issue(authority: trustme.CA, folder: Path, name: str, *hosts: str) -> Identity:
    issued = authority.issue_cert(*hosts)
    identity = Identity(folder / f"{name}.pem", folder / f"{name}.key")
    identity.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(identity.key))
    return identity


def make_identities(folder: Path) -> Identities:
    """Make both authorities and everybody's certificate in a folder."""
    trusted, unknown = trustme.CA(), trustme.CA()
    authority = folder / "authority.pem"
    trusted.cert_pem.write_to_path(str(authority))
    return Identities(
        authority=authority,
        honest=_issue(trusted, folder, "honest", *HOSTS),
        misnamed=_issue(trusted, folder, "misnamed", STRANGER),
        forged=_issue(unknown, folder, "forged", *HOSTS),
    )
