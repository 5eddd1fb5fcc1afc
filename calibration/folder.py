"""Which files of a folder are pictures, and what the others are: links are followed, nothing is left out unsaid."""

from __future__ import annotations

import os
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from pathlib import Path

from perceiver_edge.errors import BadInputError, counted

IMAGE_SUFFIXES = {
    ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff",
    ".webp",
}  # fmt: skip
"""What Pillow reads by itself. Not what it hands to other programs, such as EPS to Ghostscript."""

MOST_FILES = 2_000_000
"""Folders among them. A folder that links to ``/`` is a mistake, and ends here."""

_SUFFIXES_SHOWN = 4


def find_pictures(folder: Path) -> tuple[list[Path], str | None]:
    """The pictures in a folder and in the folders below it, sorted by path; and what was left out, in words.

    Links are followed, but no folder is read twice for one of the folders in ``folder``, nor one that it lies in.
    Hidden files and folders (``.name``) are no pictures of anybody's, and are not counted.

    Raises:
        BadInputError: a folder cannot be read, or there are more files than anybody's pictures are.
    """
    pictures: list[Path] = []
    others: Counter[str] = Counter()
    num_broken, num_folders = 0, 0
    seen: defaultdict[tuple[str, ...], set[tuple[int, int]]] = defaultdict(set)
    waiting = deque([folder])
    while waiting:
        at = waiting.popleft()
        top = at.relative_to(folder).parts[:1]  # each of these may be a class, with all that it links to
        try:
            status = at.stat()
            here = (status.st_dev, status.st_ino)
            if status.st_ino and (here in seen[()] or here in seen[top]):  # some systems number no files: all are 0
                continue
            entries = sorted(os.scandir(at), key=lambda entry: entry.name)
        except OSError as error:
            raise BadInputError("A folder of pictures cannot be read.", got=error.strerror, where=at) from error
        seen[top].add(here)
        num_folders += 1
        for entry in entries:
            path = at / entry.name
            if entry.name.startswith("."):
                continue
            if _holds(entry.is_dir):
                if _holds(entry.is_symlink):  # last, so that a picture that is found in two ways has its own path
                    waiting.append(path)
                else:
                    waiting.appendleft(path)
            elif not _holds(entry.is_file):  # a link to nowhere or to itself, a pipe, a device
                num_broken += 1
            elif path.suffix.lower() in IMAGE_SUFFIXES:
                pictures.append(path)
            else:
                others[path.suffix.lower() or "without suffix"] += 1
        if num_folders + len(pictures) + others.total() + num_broken > MOST_FILES:
            raise BadInputError("There are too many files.", expected=f"at most {MOST_FILES:,}", where=folder)
    return sorted(pictures), _left_out(others, num_broken)


def _holds(question: Callable[[], bool]) -> bool:
    """False also where the system refuses to say, as of a link to itself."""
    try:
        return question()
    except OSError:
        return False


def _left_out(others: Counter[str], num_broken: int) -> str | None:
    shown = [f"{count} {suffix}" for suffix, count in others.most_common(_SUFFIXES_SHOWN)]
    if rest := others.total() - sum(count for _, count in others.most_common(_SUFFIXES_SHOWN)):
        shown.append(f"{rest} of other kinds")
    if num_broken:
        shown.append(f"{num_broken} that lead nowhere or are no files")
    total = others.total() + num_broken
    return f"{counted(total, 'file')} left out: {', '.join(shown)}" if total else None
