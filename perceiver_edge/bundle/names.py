"""Names of files and folders that every system takes."""

from __future__ import annotations

from collections.abc import Iterable

from perceiver_edge.errors import BadInputError

_NOWHERE = frozenset('/\\:<>"|?*')
"""What a name cannot hold on Windows, and here and there elsewhere."""

_DEVICES = frozenset({
    "con", "prn", "aux", "nul", "conin$", "conout$",
    *(f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"),
})  # fmt: skip
"""Windows takes these for devices, in any folder and with any suffix: ``nul.onnx`` is no file."""


def is_taken_everywhere(name: str) -> bool:
    """Whether it is one plain name, and neither a device's on Windows nor one whose end Windows drops."""
    is_plain = name.isprintable() and _NOWHERE.isdisjoint(name) and name not in ("", ".", "..")
    return is_plain and name == name.rstrip(". ") and name.partition(".")[0].rstrip().casefold() not in _DEVICES


def require_usable_names(names: Iterable[str], *, but: str, where: object) -> None:
    """Plain names, and still different ones where case makes no difference: on macOS and on Windows.

    Args:
        but: a name that is taken already.

    Raises:
        BadInputError: one of them is not.
    """
    by_folded = {but.casefold(): but}
    for name in names:
        if not is_taken_everywhere(name) or name == but:
            raise BadInputError(
                "A bundle's file must lie directly in its folder, on every system.", expected="a plain file name",
                got=repr(name), where=where,
            )  # fmt: skip
        other = by_folded.setdefault(name.casefold(), name)
        if other != name:
            raise BadInputError(
                "Two files of the bundle differ only in capitals.",
                expected="names that stay different on macOS and on Windows",
                got=f"{other!r} and {name!r}", where=where,
            )  # fmt: skip
