"""The Perceiver (Jaegle et al. 2021): a fixed set of latents that repeatedly attends to an input of any size."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import KerasTensor, ops

from perceiver_edge.checkpoints import Checkpoint, fit_weights, load_checkpoint, save_checkpoint
from perceiver_edge.checkpoints.layout import distinct_layers
from perceiver_edge.config import CLASS_NAMES, InputSpec, PerceiverConfig, parse_class_names
from perceiver_edge.errors import BadInputError
from perceiver_edge.fourier import fourier_encoding
from perceiver_edge.model.attention_residual import AttentionResidual
from perceiver_edge.model.backend import require_eager_execution
from perceiver_edge.model.block import PerceiverBlock
from perceiver_edge.model.inputs import check_inputs
from perceiver_edge.model.layer_norm import LayerNorm
from perceiver_edge.model.linear import linear
from perceiver_edge.model.named_variables import flip_linear, named_variables

if TYPE_CHECKING:
    from typing_extensions import Self


@keras.saving.register_keras_serializable(package="perceiver_edge")
class Perceiver(keras.Model):
    """A Perceiver that computes what perceiver-pytorch 0.11 computes; the arguments are those of `PerceiverConfig`.

    Its variables exist from the start and follow torch's default initialisation.

    Raises:
        BadInputError: an argument is out of range.
    """

    def __init__(
        self,
        *,
        num_freq_bands: int,
        max_freq: float,
        depth: int,
        input_channels: int = 3,
        input_axis: int = 2,
        num_latents: int = 512,
        latent_dim: int = 512,
        cross_heads: int = 1,
        latent_heads: int = 8,
        cross_dim_head: int = 64,
        latent_dim_head: int = 64,
        num_classes: int = 1000,
        attn_dropout: float = 0.0,
        ff_dropout: float = 0.0,
        weight_tie_layers: bool = False,
        fourier_encode_data: bool = True,
        self_per_cross_attn: int = 1,
        final_classifier_head: bool = True,
        freq_base: float | None = None,
        inverted_cross_attn: bool | Sequence[bool] = False,
        attn_residual: bool = False,
        attn_residual_rank: int = 64,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self._perceiver_config = config = PerceiverConfig(
            num_freq_bands=num_freq_bands,
            max_freq=max_freq,
            depth=depth,
            input_channels=input_channels,
            input_axis=input_axis,
            num_latents=num_latents,
            latent_dim=latent_dim,
            cross_heads=cross_heads,
            latent_heads=latent_heads,
            cross_dim_head=cross_dim_head,
            latent_dim_head=latent_dim_head,
            num_classes=num_classes,
            attn_dropout=attn_dropout,
            ff_dropout=ff_dropout,
            weight_tie_layers=weight_tie_layers,
            fourier_encode_data=fourier_encode_data,
            self_per_cross_attn=self_per_cross_attn,
            final_classifier_head=final_classifier_head,
            freq_base=freq_base,
            inverted_cross_attn=inverted_cross_attn
            if isinstance(inverted_cross_attn, bool)
            else tuple(inverted_cross_attn),
            attn_residual=attn_residual,
            attn_residual_rank=attn_residual_rank,
        )
        self.supports_masking = True  # the mask is used up here: see compute_mask
        policy = self.dtype_policy
        self.blocks = [
            PerceiverBlock(config, name=f"block_{index}", dtype=policy) for index in range(distinct_layers(config))
        ]
        self.attn_residuals = [
            AttentionResidual(
                dim=config.latent_dim, rank=config.attn_residual_rank, name=f"attn_residual_{index}", dtype=policy
            )
            for index in range(len(self.blocks) if config.attn_residual else 0)
        ]
        if config.final_classifier_head:
            self.head_norm = LayerNorm(name="head_norm", dtype=policy)
            self.head = linear(config.latent_dim, config.num_classes, name="head", dtype=policy)
        self.build()  # its variables; the first call tells Keras the shape of the input

    @property
    def config(self) -> PerceiverConfig:
        return self._perceiver_config

    @property
    def deployed_shape(self) -> tuple[int, ...] | None:
        """Sizes of the input axes that the model was first called with; None before."""
        shape = self.get_build_config().get("input_shape")
        return None if shape is None else tuple(shape[1:-1])

    def build(self, input_shape: object = None) -> None:
        """Make the variables, once. Keras remembers ``input_shape`` [batch, *axes, channels] for what saves models."""
        if self.built:
            return
        config = self.config
        self.latents = self.add_weight(
            name="latents",
            shape=(config.num_latents, config.latent_dim),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
        )
        for block in self.blocks:
            block.build((None, config.num_latents, config.latent_dim))
        for pool in self.attn_residuals:
            pool.build()
        if config.final_classifier_head:
            self.head_norm.build((None, config.latent_dim))
            self.head.build((None, config.latent_dim))

    def __call__(
        self, inputs: KerasTensor, mask: KerasTensor | None = None, training: bool | None = None
    ) -> KerasTensor:
        # Here and not in call(), where Keras buries every error message in its own.
        check_inputs(inputs, mask, self.config)
        if self.deployed_shape is None:
            self.build((None, *inputs.shape[1:]))
        return super().__call__(inputs, mask=mask, training=training)

    def call(self, inputs: KerasTensor, mask: KerasTensor | None = None, training: bool | None = None) -> KerasTensor:
        """Classify inputs ``[batch, *axes, input_channels]``, floating point.

        Args:
            mask: boolean ``[batch, *axes]``, True where the input may be attended to.

        Returns:
            Logits ``[batch, num_classes]``, or without the head the latents ``[batch, num_latents, latent_dim]``.

        Raises:
            BadInputError: wrong rank, channel count or dtype, or a mask that does not fit.
        """
        config = self.config
        context = self._context(inputs)
        attendable = None if mask is None else ops.reshape(mask, (-1, context.shape[1]))

        x = ops.broadcast_to(self.latents, (ops.shape(inputs)[0], config.num_latents, config.latent_dim))
        given = [x]
        for index, is_inverted in enumerate(config.inverted_layers):
            place = min(index, len(self.blocks) - 1)
            x = self.blocks[place](
                x, context=context, attendable=attendable, is_inverted=is_inverted, training=training
            )  # fmt: skip
            if config.attn_residual:
                given.append(x)
                x = self.attn_residuals[place](given)
        if not config.final_classifier_head:
            return x
        return self.head(self.head_norm(ops.mean(x, axis=1)))

    def compute_mask(self, inputs: KerasTensor, previous_mask: KerasTensor | None) -> None:
        """Tell Keras that the output has no mask: latents are not positions of the input."""

    def _context(self, inputs: KerasTensor) -> KerasTensor:
        """The input as tokens ``[batch, tokens, context_channels]``: data channels, then encoded positions."""
        config, axes = self.config, tuple(inputs.shape[1:-1])
        if config.fourier_encode_data:
            encoding = fourier_encoding(
                axes, num_bands=config.num_freq_bands, max_freq=config.max_freq, freq_base=config.freq_base
            )
            encoding = ops.broadcast_to(ops.cast(encoding, inputs.dtype), (ops.shape(inputs)[0], *encoding.shape))
            inputs = ops.concatenate([inputs, encoding], axis=-1)
        return ops.reshape(inputs, (-1, math.prod(axes), config.context_channels))

    def named_weights(self) -> dict[str, np.ndarray]:
        """Copies of the weights by canonical name (see `perceiver_edge.checkpoints.expected_shapes`).

        What LoRA adds to a kernel is in it.

        Raises:
            BadInputError: TensorFlow does not execute eagerly.
        """
        require_eager_execution()
        values = ((name, np.asarray(variable)) for name, variable in self._named_variables().items())
        return {name: np.array(flip_linear(name, value), order="C") for name, value in values}

    def load_named_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Set every weight from a mapping of canonical names (or those of perceiver-pytorch 0.8).

        Raises:
            BadInputError: the weights do not fit, or LoRA is enabled; the model then keeps those it had.
        """
        require_eager_execution()
        dtype = np.float64 if self.variable_dtype == "float64" else np.float32
        fitted = fit_weights(self.config, weights, dtype=dtype)
        variables = self._named_variables()
        if lora := [name for name, variable in variables.items() if not hasattr(variable, "assign")]:
            raise BadInputError(
                "LoRA is enabled, so a weight is no single variable.", expected="a Perceiver without it", got=lora[0],
                fix="load the weights first, then call enable_lora",
            )  # fmt: skip
        for name, variable in variables.items():
            variable.assign(flip_linear(name, fitted[name]))

    def _named_variables(self) -> dict[str, keras.Variable]:
        head = (self.head_norm, self.head) if self.config.final_classifier_head else None
        return named_variables(self.latents, self.blocks, self.attn_residuals, head)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, dtype: str = "float32") -> Self:
        model = cls(**checkpoint.config.to_dict(), dtype=dtype)
        model.load_named_weights(checkpoint.weights)
        return model

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike[str]) -> Self:
        """Read a folder with ``config.json`` and ``model.safetensors``, ours or perceiver-pytorch's.

        Raises:
            BadInputError: the folder is missing or damaged, or its weights do not fit its configuration.
        """
        return cls.from_checkpoint(load_checkpoint(path))

    def save_pretrained(
        self,
        path: str | os.PathLike[str],
        *,
        input_spec: InputSpec | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        """Write ``config.json`` and ``model.safetensors`` (float32) into the folder `path`.

        Args:
            class_names: what the classes are called, in the order of the logits.

        Raises:
            BadInputError: a weight is NaN or infinite, not one name a class, or the folder cannot be written.
        """
        weights = fit_weights(self.config, self.named_weights())
        names = parse_class_names({CLASS_NAMES: class_names}, self.config)
        checkpoint = Checkpoint(
            config=self.config, input_spec=input_spec, weights=weights, class_names=names, is_own=True
        )
        save_checkpoint(checkpoint, path)

    def get_config(self) -> dict[str, Any]:
        return {
            **self.config.to_dict(),
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }
