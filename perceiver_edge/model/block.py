"""One layer of the Perceiver: latents look at the input once, then at each other."""

from __future__ import annotations

import keras
from keras import KerasTensor

from perceiver_edge.config import PerceiverConfig
from perceiver_edge.model.attention import Attention
from perceiver_edge.model.feed_forward import FeedForward


class PerceiverBlock(keras.layers.Layer):
    """A cross-attend, then `self_per_cross_attn` self-attends, each with a feed-forward, each with a residual."""

    def __init__(self, config: PerceiverConfig, *, name: str, dtype: keras.DTypePolicy) -> None:
        super().__init__(name=name, dtype=dtype)

        def feed_forward(name: str) -> FeedForward:
            return FeedForward(dim=config.latent_dim, dropout=config.ff_dropout, name=name, dtype=dtype)

        self.cross_attn = Attention(
            query_dim=config.latent_dim,
            context_dim=config.context_channels,
            heads=config.cross_heads,
            dim_head=config.cross_dim_head,
            dropout=config.attn_dropout,
            name="cross_attn",
            dtype=dtype,
        )
        self.cross_ff = feed_forward("cross_ff")
        self.self_attns = [
            Attention(
                query_dim=config.latent_dim,
                context_dim=None,
                heads=config.latent_heads,
                dim_head=config.latent_dim_head,
                dropout=config.attn_dropout,
                name=f"self_attn_{index}",
                dtype=dtype,
            )
            for index in range(config.self_per_cross_attn)
        ]
        self.self_ffs = [feed_forward(f"self_ff_{index}") for index in range(config.self_per_cross_attn)]

    def build(self, input_shape: object = None) -> None:
        attends: list[Attention] = [self.cross_attn, *self.self_attns]
        feed_forwards: list[FeedForward] = [self.cross_ff, *self.self_ffs]
        for attend, feed_forward in zip(attends, feed_forwards, strict=True):
            attend.build()
            feed_forward.build()

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def call(
        self,
        x: KerasTensor,
        context: KerasTensor | None = None,
        attendable: KerasTensor | None = None,
        is_inverted: bool = False,
        training: bool | None = None,
    ) -> KerasTensor:
        """Latents ``[batch, latents, latent_dim]`` to the same shape.

        Args:
            context: ``[batch, tokens, context_channels]``.
            attendable: boolean ``[batch, tokens]``, True where a token may be attended to.
            is_inverted: see `Attention`, of the cross-attend.
        """
        x = x + self.cross_attn(
            x, context=context, attendable=attendable, is_inverted=is_inverted, training=training
        )  # fmt: skip
        x = x + self.cross_ff(x, training=training)
        for attend, feed_forward in zip(self.self_attns, self.self_ffs, strict=True):
            x = x + attend(x, training=training)
            x = x + feed_forward(x, training=training)
        return x
