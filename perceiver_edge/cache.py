"""Results of earlier runs, by the content of all that they depend on: a folder of files that anybody may delete.

An entry is the SHA-256 of its key and its content, then the content. It appears whole, by a rename, and is checked when
it is read: a damaged one counts as missing and is replaced. Processes may share the folder without a lock, because
entries under one key are equal. The least recently used entries go when there are too many bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from perceiver_edge.errors import BadInputError

LIMIT_BYTES = 4 << 30
"""Of all entries together: the results for eight models of the README's size."""

_DIGEST_BYTES = hashlib.sha256().digest_size


def user_folder() -> Path:
    """``$XDG_CACHE_HOME/perceiver_edge``, by default ``~/.cache/perceiver_edge``: all that is kept for one user.

    Raises:
        BadInputError: no variable says it, and the system knows no home of this user, as in some containers.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perceiver_edge"
    except RuntimeError as error:
        raise BadInputError(
            "There is no folder to keep files of this user in.", expected="a home folder", got=error,
            fix="set HOME or XDG_CACHE_HOME to a folder that may be written to",
        ) from error  # fmt: skip


def default_folder() -> Path | None:
    """``results`` in `user_folder`: what else is kept there is not for a `Cache` to remove. None without a home."""
    try:
        return user_folder() / "results"
    except BadInputError:
        return None


class Cache:
    """The entries in one folder.

    Args:
        folder: made when something is kept; None keeps nothing.
        basis: JSON-ready; what all results depend on.
        limit_bytes: the most that all entries take.
        warn: told, once, that nothing can be kept there. That is no error: the results are made all the same.

    Attributes:
        misses: how many results were made.
    """

    def __init__(
        self,
        folder: Path | None,
        basis: Any = None,
        *,
        limit_bytes: int = LIMIT_BYTES,
        warn: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._folder, self._basis, self._limit_bytes, self._warn = folder, basis, limit_bytes, warn
        self._has_warned = False
        self.misses = 0

    def cached(self, parts: Sequence[Any], make: Callable[[], bytes]) -> bytes:
        """What `make` returned when it was last called for these parts, or returns now.

        Args:
            parts: JSON-ready; what this result depends on besides the basis, its kind first.
        """
        identity = json.dumps([self._basis, *parts], sort_keys=True, allow_nan=False)
        key = hashlib.sha256(identity.encode()).hexdigest()
        if (content := self._read(key)) is not None:
            return content
        self.misses += 1
        content = make()
        self._keep(key, content)
        return content

    def _read(self, key: str) -> bytes | None:
        if self._folder is None:
            return None
        try:
            entry = self._folder / key
            if not entry.is_file():  # a pipe would block
                return None
            with entry.open("rb") as file:
                digest, content = file.read(_DIGEST_BYTES), file.read()
        except OSError:
            return None
        if _digest(key, content) != digest:
            return None
        with contextlib.suppress(OSError):  # in a read-only folder no entry is ever removed either
            os.utime(self._folder / key)
        return content

    def _keep(self, key: str, content: bytes) -> None:
        if self._folder is None or len(content) > self._limit_bytes:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".", delete=False) as file:
                try:
                    file.write(_digest(key, content))
                    file.write(content)
                    file.close()
                    Path(file.name).replace(self._folder / key)
                except BaseException:
                    Path(file.name).unlink(missing_ok=True)
                    raise
            self._shrink()
        except OSError as error:
            if not self._has_warned:
                self._has_warned = True
                self._warn(f"Results cannot be kept in {self._folder} for the next run: {error.strerror}.")

    def _shrink(self) -> None:
        """Remove the entries that were used longest ago, and what crashed processes left, until the rest fits."""
        found, now = [], time.time_ns()
        for path in self._folder.iterdir() if self._folder else ():
            with contextlib.suppress(FileNotFoundError):  # another process may be shrinking too
                if path.is_file():
                    used = path.stat().st_mtime_ns
                    # A date in the future is of another clock: such an entry would never be the oldest.
                    found.append((used if used <= now else 0, path.stat().st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self._limit_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size


def _digest(key: str, content: bytes) -> bytes:
    digest = hashlib.sha256(key.encode())
    digest.update(content)
    return digest.digest()


NO_CACHE = Cache(None)
