"""PerceiverIO and PerceiverLM of perceiver-pytorch: one in the user's program, and one that checks a file's reading."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np

from perceiver_edge.checkpoints import Checkpoint
from perceiver_edge.checkpoints.perceiver_io import fit_perceiver_io
from perceiver_edge.checkpoints.torch_files import to_numpy
from perceiver_edge.config import InputSpec, parse_config
from perceiver_edge.config.perceiver_io import MODEL_KEY, PERCEIVER_IO, PERCEIVER_LM, QUERIES, PerceiverIOConfig
from perceiver_edge.errors import BadInputError, option
from perceiver_edge.proof.metrics import FLOAT_TOLERANCE
from perceiver_edge.proof.reference import HALF_TOLERANCE, Feeds, Reference

_PARTS = ("latents", "cross_attend_block", "layers", "decoder_cross_attn", "to_logits")
"""What a PerceiverIO of perceiver-pytorch 0.11 has."""

_OURS = (MODEL_KEY, "num_queries", "queries_are_input")
_OF_TEXTS = ("num_tokens", "max_seq_len")


def has_perceiver_io(model: Any) -> bool:
    return bool(_perceivers(model))


def read_perceiver_io_module(model: Any, config: Mapping[str, Any]) -> tuple[Checkpoint, Reference]:
    """The PerceiverIO or PerceiverLM in a module; and the whole module as the reference.

    What the decoder asks with is a parameter or buffer of the user's module that is called ``queries``, or, with
    ``queries_are_input``, the argument of this name. With neither the latents are the output, which a PerceiverIO
    answers when it is called without queries.

    Args:
        config: keys of `PerceiverIOConfig` that are ours: ``num_queries``, ``queries_are_input``.

    Raises:
        BadInputError: as for a folder of the same model; or there are several of them, or several ``queries``.
    """
    where = type(model).__name__
    perceivers = _perceivers(model)
    if len(perceivers) > 1:
        raise BadInputError(
            "There are several PerceiverIOs in this module.", expected="one", got=", ".join(perceivers), where=where,
            fix=f"pass the part that is to be compiled: model.{next(iter(perceivers))}",
        )  # fmt: skip
    (perceiver,) = perceivers.values()
    language_model = next((m for m in model.modules() if getattr(m, "perceiver_io", None) is perceiver), None)
    tensors = {name: to_numpy(name, tensor, where=where) for name, tensor in perceiver.state_dict().items()}
    arguments = _arguments(perceiver)
    spec = None
    if language_model is not None:
        del arguments["queries_dim"], arguments["logits_dim"]
        for name in ("token_emb", "pos_emb"):
            tensors[f"{name}.weight"] = to_numpy(name, getattr(language_model, name).weight, where=where)
        arguments |= {
            MODEL_KEY: PERCEIVER_LM, "num_tokens": len(tensors["token_emb.weight"]),
            "max_seq_len": len(tensors["pos_emb.weight"]),
        }  # fmt: skip
        spec = InputSpec(shape=(arguments["max_seq_len"],))
    elif not config.get("queries_are_input") and (queries := _queries(model)) is not None:
        tensors[QUERIES] = to_numpy(QUERIES, queries, where=where)
        arguments["num_queries"] = len(tensors[QUERIES])
    parsed, _ = parse_config({**arguments, **config}, where=where)
    assert isinstance(parsed, PerceiverIOConfig), "the arguments are of this family"
    is_half = perceiver.latents.dtype.itemsize < 4
    checkpoint = Checkpoint(config=parsed, input_spec=spec, weights=fit_perceiver_io(parsed, tensors, where=where))
    return checkpoint, Reference(
        answer=lambda feeds: _answer(model, perceiver, feeds), description=f"The module that was passed ({where})",
        tolerance=HALF_TOLERANCE if is_half else FLOAT_TOLERANCE,
    )  # fmt: skip


def perceiver_io_reference(checkpoint: Checkpoint) -> Reference | None:
    """perceiver-pytorch's own model with these weights; None where it is not here, or is of another version."""
    config = checkpoint.config
    assert isinstance(config, PerceiverIOConfig)
    if not all(map(find_spec, ("torch", "perceiver_pytorch"))):
        return None
    try:
        import torch
        from perceiver_pytorch import PerceiverIO, PerceiverLM

        release = version("perceiver-pytorch")
        model = (PerceiverLM if config.is_language_model else PerceiverIO)(**_constructor_arguments(config))
    except (ImportError, PackageNotFoundError, TypeError):  # not here, or of a version without these arguments
        return None
    state = {name: torch.from_numpy(np.ascontiguousarray(weight)) for name, weight in checkpoint.weights.items()}
    queries = state.pop(QUERIES, None)
    perceiver = model.perceiver_io if config.is_language_model else model
    own = {f"{name}.weight": state.pop(f"{name}.weight") for name in ("token_emb", "pos_emb") if config.vocabulary}
    model.load_state_dict(own, strict=False)
    loaded = perceiver.load_state_dict(state, strict=False)
    optional: tuple[str, ...] = ("layers.", "attn_residuals.") if config.weight_tie_layers else ()
    if not config.has_decoder:
        optional += ("decoder_cross_attn.", "decoder_ff.", "to_logits.")
    if loaded.unexpected_keys or any(not name.startswith(optional) for name in loaded.missing_keys):
        return None
    stored = {} if queries is None else {QUERIES: queries}
    return Reference(
        answer=lambda feeds: _answer(model, perceiver, feeds, stored),
        description=f"perceiver-pytorch {release} with this configuration",
    )


def _constructor_arguments(config: PerceiverIOConfig) -> dict[str, Any]:
    skipped = {*_OURS, *(("queries_dim", "logits_dim") if config.is_language_model else _OF_TEXTS)}
    return {name: value for name, value in config.to_dict().items() if name not in skipped}


def _perceivers(model: Any) -> dict[str, Any]:
    """By name. What wraps one and hands its attributes on, such as a compiled module, stands for it."""
    found: dict[int, tuple[str, Any]] = {}
    for name, module in model.named_modules():
        if all(hasattr(module, part) for part in _PARTS):
            found.setdefault(id(module.latents), (name, module))
    return dict(found.values())


def _queries(model: Any) -> Any:
    """The user's own tensor of this name."""
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    found = {name: tensor for name, tensor in named.items() if name.rpartition(".")[2] == QUERIES}
    if len(found) > 1:
        raise BadInputError(
            f"Several parameters or buffers of this module are called {QUERIES}.",
            expected="one, which the decoder asks with", got=", ".join(found), where=type(model).__name__,
            fix=f"rename the others, or make them an input: {option('config')} with queries_are_input",
        )  # fmt: skip
    tensor = next(iter(found.values()), None)
    return None if tensor is None or tensor.ndim < 2 else tensor.reshape(tensor.shape[-2:])


def _arguments(perceiver: Any) -> dict[str, Any]:
    """What the constructor was given."""
    cross, decoder = perceiver.cross_attend_block.cross_attn, perceiver.decoder_cross_attn
    layers, residuals = list(perceiver.layers), list(perceiver.attn_residuals)
    attention = layers[0].self_attns[0][0].fn
    return {
        MODEL_KEY: PERCEIVER_IO,
        "depth": len(layers),
        "dim": cross.norm_context.normalized_shape[0],
        "queries_dim": decoder.norm.normalized_shape[0],
        "logits_dim": getattr(perceiver.to_logits, "out_features", None),
        "num_latents": perceiver.latents.shape[0],
        "latent_dim": perceiver.latents.shape[1],
        "cross_heads": cross.fn.heads,
        "cross_dim_head": cross.fn.to_q.out_features // cross.fn.heads,
        "latent_heads": attention.heads,
        "latent_dim_head": attention.to_q.out_features // attention.heads,
        "weight_tie_layers": len(layers) > 1 and layers[0] is layers[1],
        "decoder_ff": perceiver.decoder_ff is not None,
        "inverted_cross_attn": bool(perceiver.inverted_cross_attn),
        "attn_residual": bool(perceiver.has_attn_residual),
        **({"attn_residual_rank": residuals[0].to_attn_logits[1].out_features} if perceiver.has_attn_residual else {}),
    }


def _answer(model: Any, perceiver: Any, feeds: Feeds, stored: Mapping[str, Any] | None = None) -> np.ndarray:
    """``stored``: arguments beside the sample's."""
    import torch

    was_training, like = model.training, perceiver.latents
    tensors = {name: torch.from_numpy(np.array(values)).to(like.device) for name, values in feeds.items()}
    options = dict(stored or {})
    if QUERIES in tensors:
        options[QUERIES] = tensors[QUERIES].to(like.dtype)
    if "mask" in tensors:
        options["mask"] = tensors["mask"]
    given = tensors["input"]
    model.eval()
    try:
        with torch.no_grad():
            output = model(given.to(like.dtype) if given.is_floating_point() else given.long(), **options)
            answer: np.ndarray = output.float().cpu().numpy()
            return answer
    finally:
        model.train(was_training)
