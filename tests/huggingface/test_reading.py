"""Folders of transformers: every form that its files come in, and what is said of those that cannot be used."""

from __future__ import annotations

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from perceiver_edge.checkpoints import load_checkpoint
from perceiver_edge.config import parse_class_names, parse_config
from perceiver_edge.errors import BadInputError


def test_every_architecture_is_read_with_all_its_weights(case, folder):
    checkpoint = load_checkpoint(folder(case))
    assert checkpoint.config == case.config
    assert all(np.array_equal(checkpoint.weights[name], weight) for name, weight in case.weights.items())
    assert len(checkpoint.weights) == len(case.weights)


def test_a_configuration_survives_the_manifest(case):
    assert parse_config(case.config.to_dict())[0] == case.config


def test_half_precision_is_read_as_what_it_is(named_case, folder):
    case = named_case("fourier")
    checkpoint = load_checkpoint(folder(case, dtype=np.float16))
    for name, weight in case.weights.items():
        assert np.array_equal(checkpoint.weights[name], weight.astype(np.float16).astype(np.float32))


def test_shards_are_one_model(named_case, folder):
    case = named_case("fourier")
    path = folder(case)
    in_shards(path)
    assert len(load_checkpoint(path).weights) == len(case.weights)


def in_shards(path, *, weight_map=None):
    tensors = load_file(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    names, places = list(tensors), {}
    for index, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"model-0000{index}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, path / file)
        places |= dict.fromkeys(part, file)
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places | (weight_map or {})}))


def test_torch_weights_are_read(named_case, folder):
    torch = pytest.importorskip("torch")
    case = named_case("fourier")
    path = folder(case)
    (path / "model.safetensors").unlink()
    torch.save({name: torch.from_numpy(weight) for name, weight in case.weights.items()}, path / "pytorch_model.bin")
    assert len(load_checkpoint(path).weights) == len(case.weights)


def test_the_old_name_of_the_text_bias_is_known(named_case, folder):
    case = named_case("masked_lm")
    case.weights["perceiver.output_postprocessor.bias"] = case.weights["embedding_decoder.bias"]
    path = folder(case)
    tensors = load_file(path / "model.safetensors")
    del tensors["embedding_decoder.bias"]
    save_file(tensors, path / "model.safetensors")
    assert "embedding_decoder.bias" in load_checkpoint(path).weights


def test_the_counter_of_a_batch_normalisation_decides_nothing(named_case, folder):
    case = named_case("conv")
    path = folder(case)
    counter = {"perceiver.input_preprocessor.convnet.batchnorm.num_batches_tracked": np.array(7, np.int64)}
    save_file({**case.weights, **counter}, path / "model.safetensors")
    assert load_checkpoint(path).config == case.config


def test_labels_become_class_names_and_placeholders_do_not(named_case, folder):
    case = named_case("fourier_relu")
    assert load_checkpoint(folder(case)).class_names is None
    unnamed = replace(case, name="unnamed")
    assert load_checkpoint(folder(unnamed, id2label={str(i): None for i in range(4)})).class_names is None
    names = {"0": "tench", "1": "crane", "2": "ant", "3": "crane"}
    named = load_checkpoint(folder(replace(case, name="named"), id2label=names))
    assert named.class_names == ("tench", "crane (1)", "ant", "crane (3)")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["cat", "", " ", None], ("cat", "LABEL_1", "LABEL_2", "LABEL_3")),
        (["\ud83d", "b", 3, True], ("?", "b", "3", "True")),
        (["a", "a", "a (0)", "b"], ("a (0)", "a (1)", "a (0) (2)", "b (3)")),
    ],
    ids=["empty", "no text", "numbers that are taken"],
)
def test_class_names_are_what_a_bundle_can_hold(labels, names, named_case, folder):
    """A bundle's manifest refuses others, minutes later."""
    path = folder(named_case("fourier_relu"), id2label={str(i): label for i, label in enumerate(labels)})
    checkpoint = load_checkpoint(path)
    assert checkpoint.class_names == names
    assert parse_class_names({"class_names": json.loads(json.dumps(names))}, checkpoint.config) == names
    assert all(name.encode() for name in names)


@pytest.mark.parametrize(
    ("problem_type", "task"),
    [
        (None, None), ("regression", "regression"), ("multi_label_classification", "regression"),
        ("single_label_classification", "classification"),
    ],
)  # fmt: skip
def test_the_configuration_says_what_the_outputs_are(problem_type, task, named_case, folder):
    config = load_checkpoint(folder(named_case("sequence_classification"), problem_type=problem_type)).config
    assert config.task == task
    assert parse_config(config.to_dict())[0].task == task


def test_the_processor_says_how_pixels_are_normalised(named_case, folder):
    path = folder(named_case("fourier"))
    assert load_checkpoint(path).input_spec.image_mean == (0.485, 0.456, 0.406)
    values = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": {"height": 224, "width": 224}}
    (path / "preprocessor_config.json").write_text(json.dumps(values))
    spec = load_checkpoint(path).input_spec
    assert (spec.shape, spec.image_mean, spec.resize) == ((224, 224), (0.5, 0.5, 0.5), "crop")


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("fourier", {"hidden_act": "mish"}, "hidden_act"),
        ("fourier", {"problem_type": "guess"}, "problem_type"),
        ("fourier", {"id2label": ["a", "b"]}, "id2label"),
        ("fourier", {"num_cross_attention_heads": 8}, "divisor of the widths"),  # 261 channels
        ("fourier", {"qk_channels": 16}, "v_channels"),
        ("fourier", {"architectures": ["PerceiverForAll"]}, "not supported"),
        ("multimodal", {"outputs": None}, "only the label"),
        ("multimodal", {"outputs": "video"}, "outputs"),
        ("multimodal", {"output_shape": [16, 12]}, "4 sizes"),
        ("fourier", {"outputs": "label"}, "outputs"),
        ("fourier", {"positions": [1]}, "positions"),
        ("masked_lm", {"positions": [1, 40]}, r"0 to 39(.|\n)*got: *40"),
        ("fourier", {"architectures": ["PerceiverModel"]}, "model of a task"),
        ("masked_lm", {"positions": []}, "positions"),
        ("fourier", {"architectures": None}, "which Perceiver"),
        ("fourier", {"num_latents": 0}, "from 1 to"),
        ("fourier", {"num_latents": "many"}, "from 1 to"),
        ("fourier", {"d_latents": 64}, "wrong shape"),
        ("fourier", {"num_self_attends_per_block": 3}, "missing"),
        ("fourier", {"num_self_attends_per_block": 1}, "no place for"),
        ("fourier", {"id2label": {"0": "a"}}, "wrong shape"),
        ("flow", {"train_size": [16]}, "train_size"),
        ("flow", {"train_size": [10**6, 10**6]}, "100,000,000 elements"),
        ("flow", {"train_size": [True, 16]}, "train_size"),
        ("multimodal", {"output_shape": [1, 16, 10**12, 10**12]}, "100,000,000 elements"),
        ("masked_lm", {"vocab_size": 100}, "wrong shape"),
    ],
)
def test_a_configuration_that_cannot_be_used_says_why(name, changes, words, named_case, folder):
    with pytest.raises(BadInputError, match=words):
        load_checkpoint(folder(named_case(name), **changes))


def test_the_file_that_is_named_is_the_one_that_is_read(named_case, folder):
    """Beside it may lie the model before it was trained further."""
    case = named_case("fourier")
    path = folder(case)
    other = {name: weight + 1 for name, weight in case.weights.items()}
    save_file(other, path / "trained.safetensors")
    name = "perceiver.embeddings.latents"
    assert np.array_equal(load_checkpoint(path / "trained.safetensors").weights[name], other[name])
    assert np.array_equal(load_checkpoint(path).weights[name], case.weights[name])


@pytest.mark.parametrize(
    ("file", "words"),
    [("adapter_model.safetensors", "merge_and_unload"), ("tf_model.h5", "from_tf"), ("model.onnx", "hf download")],
)
def test_a_folder_without_weights_says_what_helps(file, words, named_case, folder):
    path = folder(named_case("fourier"))
    (path / "model.safetensors").rename(path / file)
    with pytest.raises(BadInputError, match=words):
        load_checkpoint(path)


def test_a_bundle_is_called_after_the_folder(named_case, folder):
    from perceiver_edge.compiler.resolve import resolve_model

    assert resolve_model(folder(named_case("fourier")) / "model.safetensors").name == "fourier"


def test_a_truncated_file_says_so(named_case, folder):
    path = folder(named_case("fourier")) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInputError, match="damaged"):
        load_checkpoint(path.parent)


def header(length=None, data=8, **tensors):
    """A safetensors file with this header, whatever it says of the ``data`` bytes after it."""
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(data)


def tensor(start, end, shape=(1,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(header(length=1 << 62, a=tensor(0, 4)), id="a header as long as no memory"),
        pytest.param(header(length=99_000_000, a=tensor(0, 4)), id="a header longer than the file"),
        pytest.param(header(length=3, a=tensor(0, 4)), id="a header cut short"),
        pytest.param(header(a=tensor(0, 4), b=tensor(2, 6)), id="tensors that overlap"),
        pytest.param(header(a=tensor(0, 4), b=tensor(0, 4)), id="one tensor over another"),
        pytest.param(header(a=tensor(4, 8)), id="bytes of no tensor"),
        pytest.param(header(a=tensor(0, 1 << 40, [1 << 38])), id="beyond the end"),
        pytest.param(header(a=tensor(1 << 62, (1 << 62) + 4)), id="far beyond the end"),
        pytest.param(header(a=tensor(8, 4)), id="an end before its start"),
        pytest.param(header(a=tensor(-4, 4, [2])), id="a negative start"),
        pytest.param(header(a=tensor(0, 8, [-2])), id="a negative size"),
        pytest.param(header(a=tensor(0, 8, [-1, -2])), id="negative sizes whose product is right"),
        pytest.param(header(a=tensor(0, 8, [1 << 32, 1 << 32])), id="a product beyond 64 bits"),
        pytest.param(header(a=tensor(0, 8, [3])), id="a shape of other bytes"),
        pytest.param(header(a=tensor(0, 8, [2], "F31")), id="a type that is none"),
        pytest.param(struct.pack("<Q", 2_000_000) + b"[" * 2_000_000, id="brackets without end"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_a_header_that_lies_is_one_error(content, named_case, folder):
    path = folder(named_case("fourier"))
    (path / "model.safetensors").write_bytes(content)
    with pytest.raises(BadInputError, match="damaged"):
        load_checkpoint(path)


def test_a_name_that_is_there_twice_is_damage(named_case, folder):
    """JSON would keep the second."""
    path = folder(named_case("fourier"))
    one = json.dumps(tensor(0, 4))
    text = f'{{"a": {one}, "a": {json.dumps(tensor(4, 8))}}}'.encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    with pytest.raises(BadInputError, match="damaged"):
        load_checkpoint(path)


def test_a_truncated_shard_says_so(named_case, folder):
    path = folder(named_case("fourier"))
    in_shards(path)
    shard = path / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(BadInputError, match=r"damaged(.|\n)*00002-of-00002"):
        load_checkpoint(path)


@pytest.mark.parametrize("place", ["../elsewhere.safetensors", "/etc/passwd", "a/../../b", "..", ".", ""])
def test_an_index_reads_nothing_outside_of_its_folder(place, named_case, folder):
    path = folder(named_case("fourier"))
    in_shards(path, weight_map={"perceiver.embeddings.latents": place})
    with pytest.raises(BadInputError, match=r"elsewhere|cannot be read|not a file"):
        load_checkpoint(path)


def test_a_missing_shard_and_a_missing_weight_say_so(named_case, folder):
    path = folder(named_case("fourier"))
    in_shards(path, weight_map={"perceiver.more": "model-00001-of-00002.safetensors"})
    with pytest.raises(BadInputError, match="lack weights"):
        load_checkpoint(path)
    (path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(BadInputError, match="cannot be read"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "values", [{"do_center_crop": False}, {"resample": 2}, {"crop_size": 224}, {"image_mean": "grey"}, {"size": "big"}]
)
def test_another_processor_is_refused(values, named_case, folder):
    path = folder(named_case("fourier"))
    (path / "preprocessor_config.json").write_text(json.dumps(values))
    with pytest.raises(BadInputError):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("flow", (16, 20)),
        ("learned", (12, 20)),
        ("masked_lm", (41,)),
        ("conv", (4, 9)),
        ("multimodal", (3, 18, 12)),
        ("multimodal", (1, 16, 12)),
    ],
)
def test_an_input_shape_that_the_model_does_not_allow(name, shape, named_case, folder):
    from perceiver_edge.compiler.resolve import resolve_model

    with pytest.raises(BadInputError, match="input shape"):
        resolve_model(folder(named_case(name)), input_shape=shape)
