"""The modalities of a multimodal Perceiver of transformers: its tokens, and the query for the label.

    audio    [samples / 16, 16 samples]          + Fourier features of the time              + learned padding
    image    [frames, H / 4, W / 4, 48 values]   + Fourier features of time, row and column  + learned padding
    label    one learned token: what is passed is always replaced by ``mask.label``

All are padded to one width, and follow each other in this order. The query for the label is learned, and padded, too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from perceiver_edge.config.huggingface import (
    AUDIO,
    AUDIO_BANDS,
    IMAGE,
    LABEL,
    SPACE_PATCH,
    VIDEO_BANDS,
    HuggingFaceConfig,
)
from perceiver_edge.lowering.fourier_features import fourier_features
from perceiver_edge.lowering.source import Array, Learned, Linear, Patches, Source

ReadArray = Callable[[str], Array]
"""From transformers' name of a weight to its float64 values."""

_PREFIX = "perceiver.input_preprocessor"
_QUERY = f"perceiver.decoder.modalities.{LABEL}.decoder.output_position_encodings.position_embeddings"


def multimodal_sources(
    config: HuggingFaceConfig, read: ReadArray, input_shape: tuple[int, ...]
) -> tuple[Source | Learned, ...]:
    """``input_shape``: frames, height and width of the video."""
    frames, height, width = input_shape
    sound = config.beside(input_shape)[AUDIO]
    patches = sound[0] // config.samples_per_patch, sound[1]
    grid = frames, height // SPACE_PATCH, width // SPACE_PATCH
    time = (config.num_frames * config.audio_samples_per_frame,)
    space = config.num_frames, config.image_size, config.image_size
    return (
        Source(
            AUDIO, sound, (Patches((config.samples_per_patch,)),),
            _padded(fourier_features(patches[:1], time, bands=AUDIO_BANDS), read(f"{_PREFIX}.padding.{AUDIO}")),
        ),
        Source(
            "input", config.sample_shape(input_shape), (Patches((1, SPACE_PATCH, SPACE_PATCH)),),
            _padded(fourier_features(grid, space, bands=VIDEO_BANDS), read(f"{_PREFIX}.padding.{IMAGE}")),
        ),
        Learned(read(f"{_PREFIX}.mask.{LABEL}")),
    )  # fmt: skip


def label_query(read: ReadArray) -> Array:
    """``[1, channels]``."""
    return _padded(read(_QUERY), read(f"perceiver.decoder.padding.{LABEL}"))


def label_projection(final: Linear, classifier: Linear) -> Linear:
    """The decoder's last projection and the label's classifier, with nothing between them, as one."""
    assert final.bias is not None
    assert classifier.bias is not None
    return Linear(final.weight @ classifier.weight, final.bias @ classifier.weight + classifier.bias)


def _padded(rows: Array, padding: Array) -> Array:
    return np.concatenate([rows, np.broadcast_to(padding, (len(rows), padding.shape[1]))], axis=1)
