"""What a model is and what it is fed: one configuration for each family of Perceivers, with what all have in common.

A file here reads the keys of one framework; it imports the errors, and no weights. Presets are here too.
"""

from perceiver_edge.config.huggingface import HuggingFaceConfig
from perceiver_edge.config.input_spec import InputSpec
from perceiver_edge.config.parse import (
    CLASS_NAMES,
    CONFIG_KEYS,
    MADE_BY,
    ModelConfig,
    check_config_keys,
    parse_class_names,
    parse_config,
    require_fit,
)
from perceiver_edge.config.perceiver import FEED_FORWARD_MULTIPLIER, LAYER_NORM_EPSILON, PerceiverConfig
from perceiver_edge.config.presets import PRESETS

__all__ = [
    "CLASS_NAMES",
    "CONFIG_KEYS",
    "FEED_FORWARD_MULTIPLIER",
    "LAYER_NORM_EPSILON",
    "MADE_BY",
    "PRESETS",
    "HuggingFaceConfig",
    "InputSpec",
    "ModelConfig",
    "PerceiverConfig",
    "check_config_keys",
    "parse_class_names",
    "parse_config",
    "require_fit",
]
