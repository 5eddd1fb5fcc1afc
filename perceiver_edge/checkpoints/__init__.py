"""Perceivers in folders: `config.json` and `model.safetensors`, checked before anything else sees them."""

from perceiver_edge.checkpoints.checkpoint import Checkpoint
from perceiver_edge.checkpoints.files import load_checkpoint, save_checkpoint
from perceiver_edge.checkpoints.initial import init_weights
from perceiver_edge.checkpoints.layout import expected_shapes
from perceiver_edge.checkpoints.validation import fit_weights

__all__ = ["Checkpoint", "expected_shapes", "fit_weights", "init_weights", "load_checkpoint", "save_checkpoint"]
