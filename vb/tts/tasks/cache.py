"""Kept speech on disk: a file for each utterance, which is there as a whole or not at all.

A file is written under another name and renamed when it is complete, so neither a killed server nor a
second one with the same folder ever finds a part of one. Nothing here fails an utterance: what cannot be
kept or read is synthesized again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
import trio

from vb.blocking import Blocking
from vb.errors import ConfigError
from vb.ids import IdSource
from vb.tts.base import Audio
from vb.tts.cache import MAX_ENTRY_BYTES, NAME, PART_SUFFIX, CacheIndex, key_of, pack, unpack
from vb.tts.speech import Speech

log = structlog.get_logger(__name__)

_READ_S: Final = 1.0
_WRITE_S: Final = 5.0
_STALE_S: Final = 3600.0
"""A part of a file that is older belongs to a server that was killed."""


class SpeechCache:
    """The folder of kept speech.

    Args:
        folder: where; made when it is not there.
        max_bytes: size of all files together.
        with_api_key: whether speech is kept apart for each key.
        disk: runs what blocks.
        ids: names what is being written.

    Raises:
        ConfigError: the folder cannot be used.
    """

    def __init__(
        self, folder: str, max_bytes: int, *, with_api_key: bool, disk: Blocking, ids: IdSource
    ) -> None:
        self._folder = Path(folder)
        self._with_api_key = with_api_key
        self._disk = disk
        self._ids = ids
        self._index = CacheIndex(max_bytes)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = self._folder / f"{ids.token(8)}{PART_SUFFIX}"
            probe.touch(mode=0o600)
            probe.unlink()
            self._load()
        except OSError as error:
            raise ConfigError(f"TTS_CACHE_DIR: {folder}: {error.strerror}") from None

    def _load(self) -> None:
        """Enter what is there, in the order in which it was used."""
        found, stale = [], time.time() - _STALE_S
        with os.scandir(self._folder) as entries:
            for entry in entries:
                try:
                    facts = entry.stat(follow_symlinks=False)
                    if entry.name.endswith(PART_SUFFIX) and facts.st_mtime < stale:
                        os.unlink(entry.path)
                except FileNotFoundError:
                    continue
                if NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    found.append((facts.st_mtime, entry.name, facts.st_size))
        for _, name, size in sorted(found):
            self._remove(self._index.add(name, size))

    def key(self, speech: Speech) -> str:
        """Return the name that an utterance is kept by."""
        return key_of(speech, with_api_key=self._with_api_key)

    async def get(self, key: str) -> Audio | None:
        """Return a kept utterance; None when there is none that can be read soon.

        What another server with the same folder has kept is found as well.
        """
        with trio.move_on_after(_READ_S):
            audio = await self._disk(lambda: self._read(key))
            if audio is None:
                self._index.drop(key)
            else:
                self._index.use(key)
            return audio
        return None  # the disk is slow; what is there still counts

    def _read(self, key: str) -> Audio | None:
        path = self._folder / key
        try:
            content = path.read_bytes()
            audio = unpack(content)
            if audio is None:
                path.unlink(missing_ok=True)
            else:
                os.utime(path)
        except OSError:
            return None
        return audio

    async def put(self, key: str, audio: Sequence[Audio]) -> None:
        """Keep an utterance that is complete.

        Cancellation: it is kept or not.
        """
        if not audio or sum(piece.pcm.nbytes for piece in audio) > MAX_ENTRY_BYTES:
            return
        content = pack(audio, audio[0].rate_hz)
        # Entered before it is there: a writing thread that nobody waits for any more has its place.
        gone = self._index.add(key, len(content))
        token = self._ids.token(8)
        with trio.move_on_after(_WRITE_S):
            failed = await self._disk(lambda: self._write(key, token, content, gone))
            if failed:
                self._index.drop(key)
                log.warning("speech cannot be kept", problem=failed)
            elif key not in self._index:  # it had to go for others before it was there
                await self._disk(lambda: self._discard(key))

    def _write(self, key: str, token: str, content: bytes, gone: list[str]) -> str | None:
        """Write a file and remove others; returns what went wrong."""
        part = self._folder / f"{token}{PART_SUFFIX}"
        try:
            self._remove(gone)
            if key in gone:
                return None
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._folder / key)
        except OSError as error:
            part.unlink(missing_ok=True)
            return error.strerror or type(error).__name__
        return None

    def _discard(self, key: str) -> None:
        with suppress(OSError):
            self._remove([key])

    def _remove(self, keys: Sequence[str]) -> None:
        for key in keys:
            (self._folder / key).unlink(missing_ok=True)
