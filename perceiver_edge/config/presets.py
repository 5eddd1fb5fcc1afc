"""Architectures without weights, by name."""

from __future__ import annotations

from perceiver_edge.config.input_spec import InputSpec
from perceiver_edge.config.perceiver import PerceiverConfig

PRESETS: dict[str, tuple[PerceiverConfig, InputSpec]] = {
    # The model of the `perceiver` package's README. No weights are published for it.
    "readme": (
        PerceiverConfig(
            input_channels=3,
            input_axis=2,
            num_freq_bands=6,
            max_freq=10.0,
            depth=6,
            num_latents=256,
            latent_dim=512,
            cross_heads=1,
            latent_heads=8,
            cross_dim_head=64,
            latent_dim_head=64,
            num_classes=1000,
        ),
        InputSpec(shape=(224, 224), image_mean=(0.5,), image_std=(0.5,)),
    ),
    # The ImageNet Perceiver (Jaegle et al. 2021, section 4.1 and appendix): 64 bands up to the Nyquist frequency,
    # 261 channels, one cross head as wide as the context, 8 cross-attends of 6 self-attends, shared after the first.
    # Feed-forward blocks are perceiver-pytorch's (GEGLU, four times the width); the paper's are narrower.
    "paper": (
        PerceiverConfig(
            input_channels=3,
            input_axis=2,
            num_freq_bands=64,
            max_freq=224.0,
            depth=8,
            num_latents=512,
            latent_dim=1024,
            cross_heads=1,
            latent_heads=8,
            cross_dim_head=261,
            latent_dim_head=128,
            num_classes=1000,
            weight_tie_layers=True,
            self_per_cross_attn=6,
        ),
        InputSpec(shape=(224, 224), image_mean=(0.5,), image_std=(0.5,)),
    ),
    # One architecture for every other kind of input: frames of a video, samples of a sound, points in space.
    "video": (
        PerceiverConfig(
            input_channels=3,
            input_axis=3,
            num_freq_bands=6,
            max_freq=32.0,
            depth=4,
            num_latents=128,
            latent_dim=256,
            num_classes=400,
        ),
        InputSpec(shape=(16, 64, 64), image_mean=(0.5,), image_std=(0.5,)),
    ),
    "audio": (
        PerceiverConfig(
            input_channels=1,
            input_axis=1,
            num_freq_bands=32,
            max_freq=12288.0,
            depth=4,
            num_latents=128,
            latent_dim=256,
            num_classes=527,
        ),
        InputSpec(shape=(12288,)),
    ),
    "points": (
        PerceiverConfig(
            input_channels=3,
            input_axis=1,
            num_freq_bands=0,
            max_freq=1.0,
            depth=4,
            num_latents=128,
            latent_dim=256,
            num_classes=40,
            fourier_encode_data=False,
        ),
        InputSpec(shape=(2048,)),
    ),
    # Seconds instead of minutes: for tests and first steps.
    "tiny": (
        PerceiverConfig(
            input_channels=3,
            input_axis=2,
            num_freq_bands=2,
            max_freq=8.0,
            depth=2,
            num_latents=8,
            latent_dim=32,
            cross_heads=1,
            latent_heads=2,
            cross_dim_head=16,
            latent_dim_head=16,
            num_classes=10,
        ),
        InputSpec(shape=(16, 16), image_mean=(0.5,), image_std=(0.5,)),
    ),
}
"""Architectures without weights: `digits`, which has weights, lives in `perceiver_edge.data`."""
