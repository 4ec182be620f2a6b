"""One file on its way into a bucket: afterwards it is there, or still here, and everybody agrees which."""

import threading
from pathlib import Path

from vb.storage.base import Bucket, StorageError


class Upload:
    """An upload that may be given up while its thread is still busy with it.

    Args:
        bucket: where to.
        key: under which name.
        path: the local file; removed once the bucket has it.
    """

    def __init__(self, bucket: Bucket, key: str, path: Path) -> None:
        self.path = path
        self.key = key
        self.error: str | None = "the upload did not finish in time"
        self._bucket = bucket
        self._given_up = False
        self._done = False
        self._lock = threading.Lock()

    @property
    def location(self) -> str:
        """Where the recording is: the object's address, or the local path."""
        return self._bucket.url(self.key) if self._done else str(self.path)

    def run(self) -> None:
        """Upload the file; blocks. A failure is left in `error`."""
        try:
            self._bucket.put(self.key, self.path)
        except StorageError as failure:
            with self._lock:
                if not self._given_up:
                    self.error = f"upload failed: {failure}"
            return
        with self._lock:
            if self._given_up:
                return  # the local path has been reported, so both stay
            self._done, self.error = True, None
        try:
            self.path.unlink(missing_ok=True)
        except OSError:
            pass  # the bucket has it, which is what was asked for

    def give_up(self) -> None:
        """Settle for the local file unless the upload is through; the thread may go on, unwatched."""
        with self._lock:
            self._given_up = not self._done
