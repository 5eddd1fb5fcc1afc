"""The bundle on disk: reading one back with every byte checked, and publishing one all at once.

A crash at any point leaves the old bundle or the new. All files go into a hidden folder beside the destination,
are synced, and are swapped in by one rename. Where the system cannot exchange two folders in one call, the old one
steps aside for a moment; the next `publish` or `read_bundle` puts it back if that moment was the last. Publishers
into one folder take turns by a lock on that folder, so leftovers found under the lock belong to nobody. Only they
delete; a reader needs the lock just where it finds no bundle.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from perceiver_edge.bundle.bundle import Bundle, checked_bytes
from perceiver_edge.bundle.locks import NO_LOCKS_HERE, exclusive_lock, shared_lock
from perceiver_edge.bundle.manifest import MANIFEST_NAME, Manifest
from perceiver_edge.bundle.names import is_taken_everywhere
from perceiver_edge.errors import BadInputError, option
from perceiver_edge.files.reading import MOST_TEXT_BYTES, read_file

_READERS_PATIENCE_S = 10.0
"""Anybody may lock a folder such as /tmp for ever; no publisher is between two renames for that long."""


_OF_FILE_MANAGERS = {".DS_Store", "Thumbs.db", "desktop.ini"}
"""What is left in a folder by looking at it; and what macOS writes beside files on other systems' disks, ``._*``."""


def read_bundle(path: Path | str) -> Bundle:
    """Read the manifest and check the size and SHA-256 of every file it lists, but for documents for people.

    Raises:
        BadInputError: not a bundle, or a file is missing, damaged or outside the folder.
    """
    folder = Path(path).resolve()
    try:
        while True:
            read = manifest, _ = _read_manifest(folder)
            try:
                for name, record in manifest.evidence().items():
                    checked_bytes(folder, name, record)
                return Bundle(folder, manifest)
            except (OSError, BadInputError):
                if _read_manifest(folder) == read:
                    raise  # else another bundle was published meanwhile: read that
    except OSError as error:
        raise BadInputError("The bundle cannot be read.", got=error, where=path) from error


def require_replaceable(folder: Path, *, overwrite: bool) -> None:
    """Nothing is there, or what may be replaced: an empty folder, and with ``overwrite`` a bundle alone.

    Raises:
        BadInputError: the message says what is in the way.
    """
    if not folder.exists() or (folder.is_dir() and not _names_in(folder)):
        return
    if not folder.is_dir():
        raise BadInputError("The output is a file.", expected="a folder", where=folder, fix=_another())
    if not (folder / MANIFEST_NAME).is_file():
        raise BadInputError(
            "The output folder is not empty and is no bundle; it is never overwritten.",
            expected=f"no such folder, an empty one, or one with a {MANIFEST_NAME}",
            where=folder,
            fix=_another(),
        )
    manifest, _ = _manifest_there(folder / MANIFEST_NAME)
    if not overwrite:
        raise BadInputError(
            "The output already is a bundle.", where=folder, fix=f"pass {option('overwrite', True)} to replace it"
        )
    known = {MANIFEST_NAME, *manifest.all_files()}
    if strangers := sorted(_names_in(folder) - known):
        raise BadInputError(
            "The bundle's folder has files that are not the bundle's; replacing it would delete them.",
            got=", ".join(strangers),
            where=folder,
            fix=f"move them elsewhere, or {_another()}",
        )


def _names_in(folder: Path) -> set[str]:
    """Of all that a person could miss."""
    names = {entry.name for entry in folder.iterdir()}
    return {name for name in names if name not in _OF_FILE_MANAGERS and not name.startswith("._")}


def require_writable(destination: Path | str, *, overwrite: bool) -> None:
    """Fail now, before the long work, where `publish` would fail later.

    Raises:
        BadInputError: the destination exists and may not be replaced, or its parent cannot be written to.
    """
    name = Path(destination).absolute().name
    if sys.platform == "win32" and name and not is_taken_everywhere(name):  # resolve() would drop its end
        raise BadInputError(
            "Windows takes no folder of this name.", expected="no device such as NUL, no '.' or space at the end",
            got=repr(name), where=destination, fix=_another(),
        )  # fmt: skip
    folder = Path(destination).resolve()
    try:
        require_replaceable(folder, overwrite=overwrite)
        with suppress(FileNotFoundError, NotADirectoryError):
            _staging(folder).stat()  # an error where this name is too long, the longest that is written
        nearest = next(path for path in folder.parents if path.exists())
        tempfile.TemporaryFile(dir=nearest).close()
        with shared_lock(nearest):
            pass  # that somebody else has it now is no matter
        _sync_folder(nearest)
    except OSError as error:
        raise _unwritable(folder, error) from error


def publish(files: Mapping[str, bytes], destination: Path | str, *, overwrite: bool) -> Path:
    """Write ``files`` (`manifest.seal` makes them) as the folder ``destination``, all or nothing.

    Replaces an existing bundle only with ``overwrite``, and never a folder with files that a bundle's manifest does
    not list. On Windows, and where folders cannot be locked, publishers of the same destination must take turns by
    themselves.

    Returns:
        the absolute path of the bundle.

    Raises:
        BadInputError: the destination may not be replaced or cannot be written to; what was there is untouched.
    """
    Manifest.from_json(files[MANIFEST_NAME], where=MANIFEST_NAME)
    folder = Path(destination).resolve()
    new = _staging(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(folder.parent):
            _put_back(folder)
            require_replaceable(folder, overwrite=overwrite)
            _clear_leftovers(folder)
            try:
                _write_all(files, new)
                _swap_in(new, folder)
            finally:
                _put_back(folder)
                _clear_leftovers(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return folder


def _staging(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.perceiver-edge-new")


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.perceiver-edge-old")


def _read_manifest(folder: Path) -> tuple[Manifest, tuple[int, int]]:
    """The manifest, and what tells this publication from one of the same bytes: the file's inode and time."""
    path = folder / MANIFEST_NAME
    patience_ends = time.monotonic() + _READERS_PATIENCE_S
    while True:  # a publisher may be between its two renames at each look
        with suppress(FileNotFoundError, NotADirectoryError):
            return _manifest_there(path)
        with shared_lock(folder.parent) as is_held:
            is_over = time.monotonic() > patience_ends
            # Without locks, an old bundle that stepped aside may be a publisher's at work, until patience is over.
            is_settled = is_held or (is_held is None and (is_over or not _has_stepped_aside(folder)))
            if is_held or (is_settled and is_over):
                _put_back(folder)
            if is_settled:
                with suppress(FileNotFoundError, NotADirectoryError):
                    return _manifest_there(path)
            if is_settled or is_over:
                break
        time.sleep(0.005)
    raise BadInputError(
        "There is no bundle here.",
        expected=f"a folder with a {MANIFEST_NAME}",
        got=f"no {MANIFEST_NAME}" if folder.exists() else "no such folder",
        where=folder,
        fix="python -m perceiver_edge.convert makes one",
    )


def _manifest_there(path: Path) -> tuple[Manifest, tuple[int, int]]:
    status = path.stat()
    try:
        content = read_file(path, most_bytes=MOST_TEXT_BYTES, what="The manifest")
    except BadInputError as error:
        if isinstance(error.__cause__, FileNotFoundError):  # another bundle is being published just now
            raise error.__cause__ from None
        raise
    return Manifest.from_json(content, where=path), (status.st_ino, status.st_mtime_ns)


def _has_stepped_aside(folder: Path) -> bool:
    """Whether there is an old bundle that makes room for a new one. A folder without a manifest is not ours."""
    return (_aside(folder) / MANIFEST_NAME).is_file()


def _put_back(folder: Path) -> None:
    """Under the lock: put the old bundle back if no new one took its place."""
    if not folder.exists() and _has_stepped_aside(folder):
        with suppress(FileNotFoundError):  # another reader, who holds the lock too, was faster
            _aside(folder).rename(folder)


def _clear_leftovers(folder: Path) -> None:
    """Under a publisher's lock: remove what an unfinished `publish` left."""
    new = _staging(folder)
    shutil.rmtree(new, ignore_errors=True)
    if folder.exists() and _has_stepped_aside(folder):
        _aside(folder).rename(new)  # first, so that what a crash leaves half removed is still known as ours
        shutil.rmtree(new, ignore_errors=True)


def _write_all(files: Mapping[str, bytes], folder: Path) -> None:
    folder.mkdir()
    for name, content in files.items():
        with (folder / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    _sync_folder(folder)


def _swap_in(new: Path, folder: Path) -> None:
    if not folder.exists() or not _names_in(folder):
        for left in folder.iterdir() if folder.exists() else ():
            left.unlink()
        if sys.platform == "win32" and folder.exists():
            folder.rmdir()
        new.rename(folder)
    elif not _exchange(new, folder):
        folder.rename(_aside(folder))
        new.rename(folder)
    _sync_folder(folder.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one atomic step (Linux ``renameat2``); False where the system or file system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if renameat2 is None:
        return False
    at_fdcwd, rename_exchange = -100, 2
    if renameat2(at_fdcwd, os.fsencode(one), at_fdcwd, os.fsencode(other), rename_exchange) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM):
        return False
    raise OSError(code, os.strerror(code), str(other))


def _sync_folder(folder: Path) -> None:
    if sys.platform != "win32":
        try:
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno not in NO_LOCKS_HERE:  # as for locks, some file systems open or sync no folders
                raise


def _unwritable(folder: Path, error: OSError) -> BadInputError:
    return BadInputError(
        "The output cannot be written.",
        got=error.strerror or str(error),
        where=folder,
        fix=_another(),
    )


def _another() -> str:
    return f"choose another {option('output')}"
