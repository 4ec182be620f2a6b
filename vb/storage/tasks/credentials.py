"""The machine's own credentials, found where Amazon's tools find them: by the optional package botocore."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Final, Protocol, cast

import trio

from vb.storage.base import StorageError, StorageMissing
from vb.storage.sigv4 import Credentials

_TIMEOUT_S: Final = 15.0


class _Frozen(Protocol):
    access_key: str
    secret_key: str
    token: str | None


class _Found(Protocol):
    def get_frozen_credentials(self) -> _Frozen: ...


def require_botocore() -> None:
    """Check that the machine's credentials can be looked for.

    Raises:
        StorageMissing: botocore is not installed.
    """
    if importlib.util.find_spec("botocore") is None:
        raise StorageMissing("S3 without access keys needs the extra vb[storage]")


class MachineCredentials:
    """Credentials of the environment, of a profile, of the container or of the instance; renewed in time."""

    def __init__(self) -> None:
        self._found: _Found | None = None
        self._limiter = trio.CapacityLimiter(1)

    async def __call__(self) -> Credentials:
        """Return credentials that are valid now.

        Raises:
            StorageError: there are none.
        """
        with trio.move_on_after(_TIMEOUT_S):
            return await trio.to_thread.run_sync(self._find, limiter=self._limiter, abandon_on_cancel=True)
        raise StorageError("no credentials were found", "the look-up takes too long")

    def _find(self) -> Credentials:
        require_botocore()
        failures = importlib.import_module("botocore.exceptions").BotoCoreError
        try:
            if self._found is None:
                session = importlib.import_module("botocore.session").get_session()
                self._found = cast("_Found | None", session.get_credentials())
            frozen = self._found.get_frozen_credentials() if self._found is not None else None
        except failures as failure:
            raise StorageError("no credentials were found", type(failure).__name__) from None
        if frozen is None:
            raise StorageError("no credentials were found")
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token or "")
