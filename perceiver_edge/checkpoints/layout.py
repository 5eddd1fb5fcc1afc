"""The canonical weights of a Perceiver: the state-dict names and layouts of perceiver-pytorch 0.11."""

from __future__ import annotations

from perceiver_edge.config import FEED_FORWARD_MULTIPLIER, PerceiverConfig

Shapes = dict[str, tuple[int, ...]]


def distinct_layers(config: PerceiverConfig) -> int:
    """How many layers own weights. Tied layers are layer 0, and one module that serves as all the others."""
    return min(config.depth, 2) if config.weight_tie_layers else config.depth


def expected_shapes(config: PerceiverConfig) -> Shapes:
    """Name and shape of every weight, in the order of the forward pass. Linear weights are ``[out, in]``."""
    shapes: Shapes = {"latents": (config.num_latents, config.latent_dim)}
    for index in range(distinct_layers(config)):
        shapes |= _layer(f"layers.{index}", config)
        if config.attn_residual:
            shapes |= attention_residual(f"attn_residuals.{index}", config.latent_dim, config.attn_residual_rank)
    if config.final_classifier_head:
        shapes |= norm("to_logits.1", config.latent_dim)
        shapes |= linear("to_logits.2", config.latent_dim, config.num_classes)
    return shapes


def _layer(name: str, config: PerceiverConfig) -> Shapes:
    dim, context = config.latent_dim, config.context_channels
    cross_width = config.cross_heads * config.cross_dim_head
    self_width = config.latent_heads * config.latent_dim_head

    shapes = norm(f"{name}.cross_attn.norm", dim)
    shapes |= norm(f"{name}.cross_attn.norm_context", context)
    shapes |= attention(f"{name}.cross_attn.fn", dim, context, cross_width)
    shapes |= feed_forward(f"{name}.cross_ff", dim)
    for index in range(config.self_per_cross_attn):
        attend, feed = f"{name}.self_attns.{index}.0", f"{name}.self_attns.{index}.1"
        shapes |= norm(f"{attend}.norm", dim)
        shapes |= attention(f"{attend}.fn", dim, dim, self_width)
        shapes |= feed_forward(feed, dim)
    return shapes


def attention(name: str, query: int, context: int, width: int) -> Shapes:
    return {
        **linear(f"{name}.to_q", query, width, bias=False),
        **linear(f"{name}.to_kv", context, 2 * width, bias=False),
        **linear(f"{name}.to_out", width, query),
    }


def feed_forward(name: str, dim: int) -> Shapes:
    hidden = FEED_FORWARD_MULTIPLIER * dim
    return {
        **norm(f"{name}.norm", dim),
        **linear(f"{name}.fn.net.0", dim, 2 * hidden),
        **linear(f"{name}.fn.net.2", hidden, dim),
    }


def attention_residual(name: str, dim: int, rank: int) -> Shapes:
    """An RMS normalisation and two products."""
    name = f"{name}.to_attn_logits"
    return {
        f"{name}.0.weight": (dim,),
        **linear(f"{name}.1", dim, rank, bias=False),
        **linear(f"{name}.2", rank, dim, bias=False),
    }


def linear(name: str, inputs: int, outputs: int, *, bias: bool = True) -> Shapes:
    weight: Shapes = {f"{name}.weight": (outputs, inputs)}
    return weight | {f"{name}.bias": (outputs,)} if bias else weight


def norm(name: str, dim: int) -> Shapes:
    return {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}
