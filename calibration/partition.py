"""Divide a source into samples to calibrate with and samples to prove with, never one in both."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perceiver_edge.calibration.samples import Sample, SampleSource
from perceiver_edge.errors import BadInputError

_LOOKS_PER_SAMPLE = 10
"""How many samples may be looked at for each one asked for, so that an endless stream of few samples ends too."""


@dataclass(frozen=True)
class Part:
    """Some samples of a source, read when iterated, in the source's order. ``digests``: of their content, by index.

    ``num_repeated``: samples that were looked at and have the content of another one.
    """

    source: SampleSource
    digests: dict[int, bytes]
    num_repeated: int = 0

    @property
    def description(self) -> str:
        return self.source.description

    @property
    def is_random(self) -> bool:
        return self.source.is_random

    @property
    def are_pictures(self) -> bool:
        return self.source.are_pictures

    @property
    def notices(self) -> tuple[str, ...]:
        if not self.num_repeated:
            return self.source.notices
        what = "1 sample repeats another one and was" if self.num_repeated == 1 else (
            f"{self.num_repeated} samples repeat others and were"
        )  # fmt: skip
        return (*self.source.notices, f"{what} left out ({self.description}).")

    @property
    def labels(self) -> NDArray[np.int64] | None:
        return self.source.labels_of(list(self.digests))

    def __len__(self) -> int:
        return len(self.digests)

    def __iter__(self) -> Iterator[Sample]:
        return self.source.pick(self.digests)


def split(source: SampleSource, *, num_calibration: int, num_held_out: int, seed: int) -> tuple[Part, Part]:
    """(calibration, held out): disjoint in content too, of at most the sizes asked for.

    Where the source can be read in any order the samples are drawn from all of it, from a stream they are the first;
    either way a seeded shuffle decides the side. Of samples with equal content only one is used. If there are too few,
    what there is is divided in the proportion asked for, at least one each. Keeps no sample, only 16 bytes for each
    one asked for.

    Raises:
        BadInputError: fewer than two different samples, or sizes or a seed out of range.
    """
    for name, value, least in (
        ("num_calibration", num_calibration, 1),
        ("num_held_out", num_held_out, 1),
        ("seed", seed, 0),
    ):
        if value < least:
            raise BadInputError(f"{name} is out of range.", expected=f"at least {least}", got=value)
    rng = np.random.default_rng(seed)
    wanted = num_calibration + num_held_out

    digest_of, num_repeated = _different(source, wanted, rng)
    if len(digest_of) < 2:
        raise BadInputError(
            "There are too few samples to calibrate with some and prove with others.",
            expected="at least 2 different samples",
            got=f"{len(digest_of)}, and {num_repeated} with the same content",
            where=source.description,
        )

    share = round(len(digest_of) * num_calibration / wanted)
    num_first = min(max(share, 1), len(digest_of) - 1)
    shuffled = rng.permutation(list(digest_of)).tolist()
    calibration, held_out = (
        Part(source, {index: digest_of[index] for index in sorted(side)}, num_repeated)
        for side in (shuffled[:num_first], shuffled[num_first:])
    )
    return calibration, held_out


def draw(
    source: SampleSource, count: int, *, seed: int, exclude: Collection[bytes] = (), asked_before: int = 0
) -> Part:
    """At most ``count`` (1 or more) different samples, none with a digest in ``exclude``, drawn as `split` draws.

    With its seed, and what it calibrates with excluded, these are the samples that `split` holds out.

    Args:
        asked_before: how many `split` was to calibrate with, which may be more than it found; it looked for them all.
    """
    wanted = count + max(len(set(exclude)), asked_before)
    digest_of, num_repeated = _different(source, count, np.random.default_rng(seed), exclude, among=wanted)
    return Part(source, dict(sorted(digest_of.items())), num_repeated)


def find(source: SampleSource, digests: Collection[bytes], *, seed: int, asked_before: int) -> Part:
    """The samples with these digests, as far as the source has them: with its seed, those that `split` drew before.

    Args:
        asked_before: how many `split` was to find on both sides, which may be more than it found.
    """
    missing, found = set(digests), dict[int, bytes]()
    looks = source.digests(np.random.default_rng(seed))
    for index, digest in itertools.islice(looks, _LOOKS_PER_SAMPLE * max(len(missing), asked_before)):
        if digest in missing:
            missing.discard(digest)
            found[index] = digest
            if not missing:
                break
    return Part(source, dict(sorted(found.items())))


def _different(
    source: SampleSource,
    wanted: int,
    rng: np.random.Generator,
    exclude: Collection[bytes] = (),
    *,
    among: int | None = None,
) -> tuple[dict[int, bytes], int]:
    """(digests by index, in the order drawn, of at most ``wanted`` samples; how many had the content of another).

    ``among``: how many are looked for, those of ``exclude`` too, if that is more than ``wanted``.
    """
    digest_of: dict[int, bytes] = {}
    seen = set(exclude)
    num_repeated = 0
    for index, digest in itertools.islice(source.digests(rng), _LOOKS_PER_SAMPLE * (among or wanted)):
        if digest in seen:
            num_repeated += digest not in exclude
            continue
        seen.add(digest)
        digest_of[index] = digest
        if len(digest_of) == wanted:
            break
    return digest_of, num_repeated
