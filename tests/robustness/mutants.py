"""Damaged files, reproducibly: number ``index`` of a seed is always the same bytes."""

from __future__ import annotations

import random
import re

_NUMBERS = [b"0", b"-1", b"1e400", b"3e38", b"1000000000000", b"NaN", b"null", b"[]", b"{}", b'"x"', b"true", b"0.5"]
_WORDS = [
    b"",
    b"\0",
    b"\xff\xfe",
    b"..",
    b"/etc/passwd",
    b"\x1b[2J",
    b"\xe2\x80\xae",
    b"[" * 5000,
    b'"' * 3,
    b"A" * 100,
]


def mutant(seed: bytes, index: int, *, is_text: bool) -> bytes:
    """One to four changes: bits, bytes, cuts, repeats; in texts numbers and words too."""
    chance = random.Random(index)
    content = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        _change(content, chance, is_text=is_text)
    return bytes(content)


def _change(content: bytearray, chance: random.Random, *, is_text: bool) -> None:
    if not content:
        return
    at = _place(content, chance)
    match chance.randrange(8 if is_text else 6):
        case 0:
            content[at] ^= 1 << chance.randrange(8)
        case 1:
            content[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        case 2:
            del content[at:]
        case 3:
            del content[at : at + chance.randrange(1, 32)]
        case 4:
            content[at:at] = content[at : at + chance.randrange(1, 64)]
        case 5:
            size = chance.choice((2, 4, 8))
            content[at : at + size] = chance.choice((0, 1, 2**31 - 1, 2**63 - 1)).to_bytes(8, "little")[:size]
        case 6:
            _replace_a_number(content, chance)
        case 7:
            content[at:at] = chance.choice(_WORDS)


def _place(content: bytearray, chance: random.Random) -> int:
    """Often at the start or the end, where headers and directories are."""
    where = chance.randrange(4)
    if where == 0:
        return chance.randrange(min(len(content), 256))
    if where == 1:
        return len(content) - 1 - chance.randrange(min(len(content), 256))
    return chance.randrange(len(content))


def _replace_a_number(content: bytearray, chance: random.Random) -> None:
    if found := list(re.finditer(rb"-?\d+(\.\d+)?(e-?\d+)?", content)):
        match = chance.choice(found)
        content[match.start() : match.end()] = chance.choice(_NUMBERS)
