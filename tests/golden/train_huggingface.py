"""Train the models of ``trained/``: ``python tests/golden/train_huggingface.py [NAME …]`` (torch and transformers).

Minutes on a core for each. The same seed gives the same weights on the same machine. The held-out part is looked at
once, to be reported. Weights are stored as float16, which is what the models then are.

| model | data | task |
|---|---|---|
| digits_fourier, digits_conv | the package's handwritten digits | which digit |
| snippets | lines of CPython's library, headers and documentation | Python, C or prose |
| masked_bytes | CPython's documentation | bytes that are masked |

Files and topics are held out whole: no text of theirs was trained with.
"""

from __future__ import annotations

import pydoc_data.topics
import sys
import sysconfig
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent))

import trained
from trained import CLS, FIRST_BYTE, MASK, NO_LABEL, PAD, SEP, Part

SHAPE = {
    "num_latents": 16, "d_latents": 48, "qk_channels": 48, "v_channels": 48, "num_blocks": 2,
    "num_self_attends_per_block": 2, "num_self_attention_heads": 4, "num_cross_attention_heads": 1,
    "initializer_range": 0.1, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
TEXT = SHAPE | {"d_model": 32, "qk_channels": 24, "num_cross_attention_heads": 4}
SNIPPET_LENGTH, WINDOW_LENGTH = 40, 48
KINDS = ("Python", "C", "prose")
MODELS = {
    "digits_fourier": ("ImageClassificationFourier", {**SHAPE, "num_labels": 10}),
    "digits_conv": ("ImageClassificationConvProcessing", {**SHAPE, "num_labels": 10}),
    "snippets": ("SequenceClassification", {**TEXT, "max_position_embeddings": SNIPPET_LENGTH, "num_labels": 3}),
    "masked_bytes": ("MaskedLM", {**TEXT, "max_position_embeddings": WINDOW_LENGTH, "num_latents": 32}),
}
STEPS = {"digits_fourier": 900, "digits_conv": 900, "snippets": 3_000, "masked_bytes": 1_500}
BATCH, LEARNING_RATE, WEIGHT_DECAY = 32, 2e-3, 0.05
MASKED_SHARE = 0.15
NUM_SEEN, NUM_WINDOWS = 128, 256

Draw = Callable[[np.random.Generator, int], Part]
"""So many samples at random."""


def main() -> None:
    """The command."""
    torch.set_num_threads(1)  # products are small: two threads mostly wait for each other
    for name in sys.argv[1:] or trained.NAMES:
        train(name)


def train(name: str) -> None:
    """Train one and store it; of texts also the samples."""
    torch.manual_seed(0)
    architecture, values = MODELS[name]
    labels = dict(enumerate(KINDS)) if name == "snippets" else None
    config = transformers.PerceiverConfig(**values, **({"id2label": labels} if labels else {}))
    model = getattr(transformers, f"PerceiverFor{architecture}")(config)
    draw, held_out = samples(name)
    random, steps = np.random.default_rng(0), STEPS[name]
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        batch = draw(random, BATCH)
        logits = model(**inputs(batch)).logits.flatten(0, -2)
        targets = torch.from_numpy(batch.labels.reshape(-1))
        loss = torch.nn.functional.cross_entropy(logits, targets, ignore_index=NO_LABEL, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 200 == 0:
            print(f"{name}, step {step} of {steps}: loss {loss.item():.3f}", flush=True)
    model.half().save_pretrained(trained.folder(name))
    model.float().eval()
    with torch.no_grad():
        logits = np.concatenate(
            [model(**inputs(held_out[i : i + 100])).logits for i in range(0, len(held_out.labels), 100)]
        )
    asked = int((held_out.labels != NO_LABEL).sum())
    print(f"{name}: {trained.num_right(logits, held_out.labels) / asked:.2%} of {asked:,} held out", flush=True)


def inputs(part: Part) -> dict[str, torch.Tensor]:
    """As transformers takes them."""
    given = torch.from_numpy(part.inputs["input"])
    if "mask" not in part.inputs:
        return {"inputs": given.permute(0, 3, 1, 2)}
    return {"inputs": given.long(), "attention_mask": torch.from_numpy(part.inputs["mask"]).long()}


def samples(name: str) -> tuple[Draw, Part]:
    """What to train with, and the part held out; texts are stored."""
    if name in trained.PICTURE_SIZES:
        seen, held_out = trained.digits(trained.PICTURE_SIZES[name])
        return lambda random, count: shifted(seen[random.integers(0, len(seen.labels), count)], random), held_out
    make = snippets if name == "snippets" else windows
    corpus, other = kinds(is_held_out=False), kinds(is_held_out=True)
    seen = make(corpus, np.random.default_rng(1), NUM_SEEN)
    held_out = make(other, np.random.default_rng(1), trained.NUM_TEST if name == "snippets" else NUM_WINDOWS)
    trained.store(name, seen, held_out)
    return lambda random, count: make(corpus, random, count), held_out


def shifted(part: Part, random: np.random.Generator) -> Part:
    """Moved by up to two pixels each way; what comes in at an edge is paper."""
    images, paper = part.inputs["input"], np.float32(-trained.INK_MEAN / trained.INK_STD)
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=paper)
    y, x = random.integers(0, 5, (2, len(images)))
    size = images.shape[1]
    moved = np.stack([one[j : j + size, i : i + size] for one, j, i in zip(padded, y, x, strict=True)])
    return Part({"input": moved}, part.labels)


def kinds(is_held_out: bool) -> list[list[bytes]]:
    """Texts of each kind, of the files and topics that are held out or of the others."""
    library, headers = (Path(sysconfig.get_path(name)) for name in ("stdlib", "include"))
    files = [sorted(library.glob("*.py")), sorted(headers.rglob("*.h"))]
    texts = [{path.name: path.read_bytes() for path in paths} for paths in files]
    texts.append({topic: text.encode() for topic, text in sorted(pydoc_data.topics.topics.items())})
    return [[t for name, t in kind.items() if (zlib.crc32(name.encode()) % 5 == 0) == is_held_out] for kind in texts]


def cut(texts: list[bytes], random: np.random.Generator, least: int, most: int) -> bytes:
    """From a random place of a random text, long texts more often; without space at its ends."""
    sizes = np.array([len(text) for text in texts], np.float64)
    while True:
        text = texts[random.choice(len(texts), p=sizes / sizes.sum())]
        start = int(random.integers(0, max(len(text) - most, 1)))
        piece = text[start : start + int(random.integers(least, most + 1))].strip()
        if len(piece) >= least:
            return piece


def symbols(piece: bytes, length: int) -> np.ndarray:
    """``[length]``: what transformers' tokenizer makes of a text, padded."""
    ids = [CLS, *(byte + FIRST_BYTE for byte in piece), SEP]
    return np.array(ids + [PAD] * (length - len(ids)), np.int32)


def snippets(corpus: list[list[bytes]], random: np.random.Generator, count: int) -> Part:
    """Pieces of 10 to 38 bytes, and of which kind each is."""
    labels = random.integers(0, len(corpus), count)
    given = np.stack([symbols(cut(corpus[k], random, 10, SNIPPET_LENGTH - 2), SNIPPET_LENGTH) for k in labels])
    return Part({"input": given, "mask": given != PAD}, labels)


def windows(corpus: list[list[bytes]], random: np.random.Generator, count: int) -> Part:
    """Pieces of prose of 25 to 46 bytes, in which some bytes are masked; those are asked for."""
    whole = np.stack([symbols(cut(corpus[-1], random, 25, WINDOW_LENGTH - 2), WINDOW_LENGTH) for _ in range(count)])
    is_asked = (whole >= FIRST_BYTE) & (random.random(whole.shape) < MASKED_SHARE)
    given = np.where(is_asked, MASK, whole).astype(np.int32)
    return Part({"input": given, "mask": given != PAD}, np.where(is_asked, whole, NO_LABEL).astype(np.int64))


if __name__ == "__main__":
    main()
