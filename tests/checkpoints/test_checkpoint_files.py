"""Checkpoints in folders: what is written is read back, and everything else is one clear error."""

import json
import re
import struct
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from perceiver_edge.checkpoints import Checkpoint, init_weights, load_checkpoint, save_checkpoint
from perceiver_edge.config import InputSpec
from perceiver_edge.errors import BadInputError, MissingExtraError

TO_Q = "layers.0.cross_attn.fn.to_q.weight"


@pytest.fixture
def folder(tmp_path, tiny_config):
    config = tiny_config()
    weights = init_weights(config, seed=0)
    spec = InputSpec(shape=(4, 5), image_mean=(0.5,), image_std=(0.25,))
    save_checkpoint(Checkpoint(config=config, input_spec=spec, weights=weights), tmp_path / "model")
    return tmp_path / "model"


def change_weights(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def assert_rejected(folder, *parts):
    with pytest.raises(BadInputError) as caught:
        load_checkpoint(folder)
    for part in parts:
        assert str(part) in str(caught.value)


def test_what_is_saved_is_loaded(folder, tiny_config):
    checkpoint = load_checkpoint(folder)
    assert checkpoint.config == tiny_config()
    assert checkpoint.input_spec == InputSpec(shape=(4, 5), image_mean=(0.5,), image_std=(0.25,))
    for name, weight in init_weights(tiny_config(), seed=0).items():
        np.testing.assert_array_equal(checkpoint.weights[name], weight, err_msg=name)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"depth": "x"}, "'depth' is out of range"),
        ({"image_mean": [127.0]}, "image_mean is not of pixels in [0, 1]"),
        ({"image_std": ["a"]}, "image_mean and image_std are not usable"),
        ({"resize": "stretch"}, "resize is not usable"),
    ],
)
def test_a_value_that_is_not_usable_names_the_file(folder, changes, says):
    change_config(folder, **changes)
    assert_rejected(folder, says, f"where:    {folder / 'config.json'}")


def test_fingerprint_follows_names_shapes_and_values(tiny_config):
    def fingerprint(weights):
        return Checkpoint(config=tiny_config(), input_spec=None, weights=weights).fingerprint

    weights = {"a": np.arange(6, dtype=np.float32), "b": np.ones(2, np.float32)}
    same = {"b": weights["b"].copy(), "a": weights["a"].copy()}
    assert fingerprint(weights) == fingerprint(same)
    for other in (
        {"a": weights["a"], "c": weights["b"]},
        {**weights, "a": weights["a"].reshape(2, 3)},
        {**weights, "b": np.nextafter(weights["b"], 2, dtype=np.float32)},
    ):
        assert fingerprint(other) != fingerprint(weights)


@pytest.mark.parametrize("stored", [np.float16, np.float64])
def test_other_floating_point_files_are_cast_to_float32(folder, stored):
    expected = load_file(folder / "model.safetensors")[TO_Q].astype(stored).astype(np.float32)
    change_weights(folder, lambda tensors: tensors.update({n: t.astype(stored) for n, t in tensors.items()}))
    weight = load_checkpoint(folder).weights[TO_Q]
    assert weight.dtype == np.float32
    np.testing.assert_array_equal(weight, expected)


def test_bfloat16_files_are_cast_to_float32(folder):
    """bfloat16 is the upper half of float32; numpy cannot write it, so the file is written by hand."""
    tensors = load_file(folder / "model.safetensors")
    header, data = {}, b""
    for name, tensor in tensors.items():
        upper_halves = (tensor.view(np.uint32) >> 16).astype("<u2").tobytes()
        header[name] = {
            "dtype": "BF16",
            "shape": tensor.shape,
            "data_offsets": [len(data), len(data) + len(upper_halves)],
        }
        data += upper_halves
    encoded = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)

    weight = load_checkpoint(folder).weights[TO_Q]
    np.testing.assert_array_equal(weight, (tensors[TO_Q].view(np.uint32) & 0xFFFF0000).view(np.float32))


def test_a_missing_folder_or_file_is_named(folder, tmp_path):
    assert_rejected(tmp_path / "nowhere", "nowhere", "config.json")
    (folder / "model.safetensors").unlink()
    assert_rejected(folder, "No such file", folder / "model.safetensors")
    (folder / "config.json").unlink()
    assert_rejected(folder, "no model in the folder", "config.json", folder)


@pytest.mark.parametrize("text", [b"{", b"\xff\xfe\x00", b""])
def test_damaged_json_is_named(folder, text):
    (folder / "config.json").write_bytes(text)
    assert_rejected(folder, "not readable", "JSON", folder / "config.json")


def test_json_that_is_no_mapping_is_named(folder):
    (folder / "config.json").write_text("[1, 2]")
    assert_rejected(folder, "a JSON object", "list")


@pytest.mark.parametrize("keep", [0, 4, 100, -10])
def test_truncated_weights_are_named(folder, keep):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    assert_rejected(folder, "damaged", path)


def test_missing_tensors_are_named(folder):
    change_weights(folder, lambda tensors: tensors.pop(TO_Q))
    assert_rejected(folder, "missing", TO_Q)


def test_unexpected_tensors_are_named_up_to_a_few(folder):
    change_weights(folder, lambda tensors: tensors.update({f"extra.{i}": np.ones(1, "f4") for i in range(6)}))
    assert_rejected(folder, "no place for", "extra.0", "extra.3", "and 2 more")


def test_a_wrong_depth_in_the_config_is_seen(folder):
    change_config(folder, depth=1)
    assert_rejected(folder, "no place for", "layers.1.", "check depth")


def test_a_wrong_shape_is_named_with_both_shapes(folder, tiny_config):
    width, dim = 4, tiny_config().latent_dim
    change_weights(folder, lambda tensors: tensors.update({TO_Q: np.zeros((dim, width), "f4")}))
    assert_rejected(folder, TO_Q, (width, dim), (dim, width))


def test_nan_and_infinity_are_counted(folder):
    def poison(tensors):
        tensors[TO_Q][0, :2] = np.nan, -np.inf

    change_weights(folder, poison)
    assert_rejected(folder, TO_Q, "2 of 24 values")


def test_a_float64_value_beyond_float32_is_not_finite(folder):
    change_weights(folder, lambda tensors: tensors.update({TO_Q: np.full(tensors[TO_Q].shape, 1e300)}))
    assert_rejected(folder, TO_Q, "24 of 24 values", "float32")


def test_integer_weights_are_refused(folder):
    change_weights(folder, lambda tensors: tensors.update({TO_Q: tensors[TO_Q].astype(np.int8)}))
    assert_rejected(folder, TO_Q, "dtype", "I8")


def test_weights_of_an_option_that_the_configuration_does_not_have_are_named(folder):
    change_weights(
        folder, lambda tensors: tensors.update({"attn_residuals.0.to_attn_logits.0.weight": np.ones(6, "f4")})
    )
    assert_rejected(folder, "no place for", "attn_residuals.0.to_attn_logits.0.weight")


def test_an_unwritable_folder_is_one_error(tmp_path, tiny_config):
    (tmp_path / "file").write_text("in the way")
    checkpoint = Checkpoint(config=tiny_config(), input_spec=None, weights=init_weights(tiny_config(), seed=0))
    with pytest.raises(BadInputError, match="cannot be written"):
        save_checkpoint(checkpoint, tmp_path / "file")


def test_a_crash_while_saving_keeps_the_old_files(folder, monkeypatch):
    old = load_checkpoint(folder)
    new = Checkpoint(config=old.config, input_spec=None, weights=init_weights(old.config, seed=1))

    def crash(*_):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", crash)
    with pytest.raises(BadInputError, match="disk full"):
        save_checkpoint(new, folder)
    assert load_checkpoint(folder).fingerprint == old.fingerprint
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_missing_safetensors_names_the_extra(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(MissingExtraError, match=re.escape("perceiver-edge[convert]")):
        load_checkpoint(folder)


@pytest.mark.parametrize("where", ["image_mean", "image_std"])
def test_one_number_is_enough_for_all_channels(folder, where):
    change_config(folder, **{where: 0.5})
    assert getattr(load_checkpoint(folder).input_spec, where) == (0.5,)


def test_one_size_is_enough_for_one_axis(tmp_path, tiny_config):
    config = tiny_config(input_axis=1)
    checkpoint = Checkpoint(config=config, input_spec=InputSpec(shape=(4,)), weights=init_weights(config, seed=0))
    save_checkpoint(checkpoint, tmp_path)
    change_config(tmp_path, input_shape=224)
    assert load_checkpoint(tmp_path).input_spec.shape == (224,)


@pytest.mark.parametrize("key", ["input_shape", "image_mean", "image_std"])
@pytest.mark.parametrize(
    "value",
    [None, "224", {"a": 1}, [None], ["x", "y"], [[1], [2]], [True, True], True, 10**400],
    ids=lambda v: repr(v)[:9],
)
def test_sizes_and_pixel_statistics_of_the_wrong_type(folder, key, value):
    change_config(folder, **{key: value})
    assert_rejected(folder, "not usable")


def test_a_configuration_nested_without_end(folder):
    (folder / "config.json").write_text("[" * 100_000)
    assert_rejected(folder, "The configuration is not readable", "config.json")


def test_class_names_are_kept(folder):
    names = ["ant", "bee", "cat"]
    old = load_checkpoint(folder)
    assert old.class_names is None
    change_config(folder, class_names=names)
    checkpoint = load_checkpoint(folder)
    assert checkpoint.class_names == tuple(names)
    save_checkpoint(checkpoint, folder)
    assert load_checkpoint(folder).class_names == checkpoint.class_names


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["ant"], "1 names"),
        ("ant", "'ant'"),
        ([1] * 3, "texts"),
        (["ant", " ", "bee"], "texts"),
        (["ant"] * 3, "Two classes have one name"),
    ],
    ids=str,
)
def test_class_names_that_do_not_fit(folder, names, told):
    change_config(folder, class_names=names)
    assert_rejected(folder, told, "config.json")
