"""What the quantisers promise: dtypes, one grid for both formats, every product covered, the same bytes each time."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import numpy_helper

from perceiver_edge.calibration import Range, quant_params
from perceiver_edge.calibration.product_inputs import product_inputs
from perceiver_edge.converters.census.take import census
from perceiver_edge.converters.onnx.graph import onnx_sites
from perceiver_edge.converters.onnx.quantize import onnx_dynamic, onnx_fp16, onnx_int8
from perceiver_edge.converters.points import quantised_points
from perceiver_edge.converters.tflite.edit import TfliteEditor
from perceiver_edge.converters.tflite.graph import tflite_sites
from perceiver_edge.converters.tflite.quantize import tflite_dynamic, tflite_fp16, tflite_int8
from perceiver_edge.errors import ConversionError
from perceiver_edge.runtime import load

CASES = ("image_non_square", "video_masked_heads", "tied_three_self_attends", "head_narrower_than_context")


def tflite_weights(model: bytes) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Per site: int8 weights ``[out, in]`` and the bias, as stored."""
    root = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    (graph,) = root.subgraphs
    dtypes = {
        schema.TensorType.INT8: np.int8,
        schema.TensorType.INT32: np.int32,
        schema.TensorType.FLOAT32: np.float32,
    }

    def array(index: int) -> np.ndarray:
        tensor = graph.tensors[index]
        buffer = root.buffers[tensor.buffer]
        stored = model[buffer.offset : buffer.offset + buffer.size] if buffer.data is None else buffer.data.tobytes()
        return np.frombuffer(stored, dtypes[tensor.type]).reshape(tensor.shape)

    weights = {}
    for name, site in tflite_sites(model).items():
        _, weight, *bias = graph.operators[int(site.operator)].inputs
        weights[name] = (array(weight), array(bias[0]) if bias and bias[0] >= 0 else None)
    return weights


def onnx_weights(model: onnx.ModelProto) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """The same of an int8 ONNX model, weights turned to ``[out, in]``."""
    stored = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    source = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    gemms = {node.name: node for node in model.graph.node}
    weights = {}
    for name, site in onnx_sites(model.graph).items():
        bias = gemms[site.operator].input[2:]
        weights[name] = (stored[source[site.weight]].T, stored[source[bias[0]]] if bias else None)
    return weights


def both_int8(model) -> Iterator[bytes]:
    yield model.tflite_int8
    yield model.onnx_int8.SerializeToString()


@pytest.mark.parametrize("case", CASES)
def test_every_product_with_weights_runs_in_int8(subject, case):
    model = subject(case)
    for content in both_int8(model):
        inside = census(content)
        assert len(inside.gemms) == len(model.sites)
        assert inside.int8_gemm_share == 1
        assert inside.weights_dequantized_at_runtime == ()


@pytest.mark.parametrize("case", CASES)
def test_both_formats_use_the_grid_of_the_ranges(subject, case):
    model = subject(case)
    tflite, onnx_ = (quantised_points(content) for content in both_int8(model))
    assert set(tflite) == set(onnx_) == set(model.ranges)
    for name, value_range in model.ranges.items():
        expected = quant_params(value_range)
        for scale, zero_point in (tflite[name], onnx_[name]):
            # ai-edge-quantizer divides in float32, which may round the last bit differently.
            assert abs(scale - expected.scale) <= np.spacing(np.float32(expected.scale)), name
            assert zero_point == expected.zero_point, name


@pytest.mark.parametrize("case", CASES)
def test_weights_are_int8_per_channel_on_the_finest_grid_of_their_format(subject, case):
    model = subject(case)
    tflite, onnx_ = tflite_weights(model.tflite_int8), onnx_weights(model.onnx_int8)
    assert set(tflite) == set(onnx_) == set(model.sites)
    for name in model.sites:
        (left, left_bias), (right, right_bias) = tflite[name], onnx_[name]
        assert left.dtype == right.dtype == np.int8
        assert (np.abs(left).max(axis=1) == 127).all(), name  # every row uses the whole range
        largest = np.abs(right.astype(int)).max(axis=1)
        assert (largest >= 63).all(), name  # half of it where two neighbours are equal
        steps = left.astype(float) * (largest / 127)[:, None]  # the same weights on ONNX's grid
        assert np.abs(steps - right).max() <= 1.5, name  # half a step each, and the rounding of the largest
        for bias in (left_bias, right_bias):
            assert bias is None or bias.dtype == np.int32


def all_weights(model: onnx.ModelProto) -> list[np.ndarray]:
    """Every int8 weight ``[in, out]`` of an int8 or dynamic ONNX model."""
    stored = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    return [values for values in stored if values.dtype == np.int8 and values.ndim == 2]


@pytest.mark.parametrize("case", CASES)
def test_no_two_neighbours_of_an_onnx_weight_can_saturate_an_int16(subject, case):
    """With uint8 activations up to 255: what x86 without VNNI adds in int16 (`converters.onnx.unsaturated`)."""
    model = subject(case)
    for made in (model.onnx_int8, onnx_dynamic(model.onnx)):
        weights = all_weights(made)
        assert len(weights) == len({site.weight for site in onnx_sites(model.onnx.graph).values()})
        finest = []
        for weight in weights:
            even, odd = weight[0::2].astype(int), weight[1::2].astype(int)
            odd = np.pad(odd, ((0, len(even) - len(odd)), (0, 0)))
            sums = np.maximum(even, 0) + np.maximum(odd, 0), np.maximum(-even, 0) + np.maximum(-odd, 0)
            largest = np.maximum(*sums).max(axis=0)
            assert largest.max() <= 128
            finest.append(largest.min())
        assert min(finest) >= 126  # no channel gives away more than rounding does


@pytest.mark.parametrize("precision", ["int8", "dynamic"])
def test_weights_of_both_formats_are_rounded_by_what_their_products_are_fed(subject, precision):
    model = subject("tied_three_self_attends")
    inputs = product_inputs(model.deployment.taps, [{name: array[0] for name, array in model.feeds.items()}])
    of_other_sites = {"none.such": inputs[model.sites[0]]}
    to_tflite, to_onnx = {
        "int8": (partial(tflite_int8, ranges=model.limits), partial(onnx_int8, ranges=model.limits)),
        "dynamic": (tflite_dynamic, onnx_dynamic),
    }[precision]
    plain = tflite_weights(to_tflite(model.tflite))
    made = tflite_weights(to_tflite(model.tflite, inputs=inputs))
    assert all(
        np.array_equal(weight, plain[n][0])
        for n, (weight, _) in tflite_weights(to_tflite(model.tflite, inputs=of_other_sites)).items()
    )
    exact = float_weights(model.tflite)
    off = {"plain": 0.0, "made": 0.0}
    for name in model.sites:
        scale = np.abs(exact[name]).max(axis=1, keepdims=True) / 127
        for which, weights in (("plain", plain), ("made", made)):
            off[which] += float(np.square(inputs[name] @ (weights[name][0] * scale - exact[name]).T).sum())
    assert off["made"] < 0.8 * off["plain"]
    assert to_onnx(model.onnx, inputs=inputs).SerializeToString() != to_onnx(model.onnx).SerializeToString()


def float_weights(model: bytes) -> dict[str, np.ndarray]:
    """Per site, ``[out, in]``."""
    editor = TfliteEditor(model)
    tensors = {n: int(editor.graph.operators[int(s.operator)].inputs[1]) for n, s in tflite_sites(model).items()}
    return {name: editor.data(index).view(np.float32).reshape(editor.shape(index)) for name, index in tensors.items()}


def test_fp16_stores_half_precision(subject):
    model = subject("image_non_square")
    numbers = sum(weight.size for weight, _ in onnx_weights(model.onnx_int8).values())
    # 2 bytes a number; biases and what is no product's weight stay float32.
    assert census(tflite_fp16(model.tflite)).weight_bytes["float16"] == 2 * numbers
    half = onnx_fp16(model.onnx)
    stored = {i.name: i.data_type for i in half.graph.initializer}
    assert {stored[site.weight] for site in onnx_sites(half.graph).values()} == {onnx.TensorProto.FLOAT16}
    assert {v.type.tensor_type.elem_type for v in (*half.graph.input, *half.graph.output)} == {onnx.TensorProto.FLOAT}


@pytest.mark.parametrize("case", CASES)
def test_dynamic_quantises_every_product(subject, case):
    model = subject(case)
    for content in (tflite_dynamic(model.tflite), onnx_dynamic(model.onnx).SerializeToString()):
        inside = census(content)
        assert len(inside.gemms) == len(model.sites)
        assert inside.int8_gemm_share == 1
        assert all(gemm.dynamic for gemm in inside.gemms)


@pytest.mark.parametrize("precision", ["fp16", "dynamic", "int8"])
def test_the_same_model_gives_the_same_bytes(subject, precision):
    model = subject("image_non_square")
    makers = {
        "fp16": (tflite_fp16, onnx_fp16),
        "dynamic": (tflite_dynamic, onnx_dynamic),
        "int8": (lambda m: tflite_int8(m, model.limits), lambda m: onnx_int8(m, model.limits)),
    }
    to_tflite, to_onnx = makers[precision]
    assert to_tflite(model.tflite) == to_tflite(model.tflite)
    before = model.onnx.SerializeToString(deterministic=True)
    first, second = (to_onnx(model.onnx).SerializeToString() for _ in range(2))
    assert first == second
    assert model.onnx.SerializeToString(deterministic=True) == before  # the float model is left as it was


def test_conversion_gives_the_same_bytes(subject):
    from perceiver_edge.converters.onnx.convert import to_onnx
    from perceiver_edge.converters.tflite.convert import to_tflite

    model = subject("image_non_square")
    traced = model.deployment.traced
    assert to_tflite(traced) == model.tflite
    assert to_onnx(traced).SerializeToString() == model.onnx.SerializeToString()


def test_tied_weights_stay_tied_in_int8(subject):
    model = subject("tied_three_self_attends")
    root = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model.tflite_int8, 0))
    (graph,) = root.subgraphs
    sites = tflite_sites(model.tflite_int8).values()
    buffers = {graph.tensors[graph.operators[int(site.operator)].inputs[1]].buffer for site in sites}
    source = {n.output[0]: n.input[0] for n in model.onnx_int8.graph.node if n.op_type == "DequantizeLinear"}
    quantised = {source[site.weight] for site in onnx_sites(model.onnx_int8.graph).values()}
    assert len(buffers) == len(quantised) == 36  # of 52 products, see test_tflite


@pytest.mark.parametrize("constant", [0.0, 0.75])
def test_an_activation_that_never_changes_is_no_trouble(subject, constant):
    model = subject("image_non_square")
    ranges = dict(model.ranges)
    ranges["layers.0.cross_ff.down.input"] = Range(constant, constant)
    limits = {name: (value.min, value.max) for name, value in ranges.items()}
    contents = (tflite_int8(model.tflite, limits), onnx_int8(model.onnx, limits).SerializeToString())
    for content in contents:
        scale, zero_point = quantised_points(content)["layers.0.cross_ff.down.input"]
        assert np.isfinite(scale)
        assert scale > 0
        assert -128 <= zero_point <= 127
        assert np.isfinite(load(content)(model.feeds)).all()
    points = [quantised_points(content)["layers.0.cross_ff.down.input"] for content in contents]
    assert points[0] == pytest.approx(points[1])


def test_a_weight_column_of_zeros_stays_zero(trace_module):
    import tensorflow as tf

    from perceiver_edge.converters.onnx.convert import to_onnx
    from perceiver_edge.converters.tflite.convert import to_tflite

    weight = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    weight[:, 1] = 0.0
    captured = tf.constant(weight)

    def projection(x: tf.Tensor) -> tf.Tensor:
        with tf.name_scope("only"):
            return tf.matmul(x, captured)

    traced = trace_module(projection, (2, 4))
    limits = {"only.input": (-1.0, 1.0), "only.output": (-8.0, 8.0)}
    x = np.random.default_rng(1).uniform(-1, 1, (2, 4)).astype(np.float32)
    for content in (
        tflite_int8(to_tflite(traced), limits),
        onnx_int8(to_onnx(traced), limits).SerializeToString(),
    ):
        output = load(content)(x)
        assert (output[:, 1] == 0).all()
        np.testing.assert_allclose(output, x @ weight, atol=0.1)


@pytest.mark.parametrize("format_", ["tflite", "onnx"])
@pytest.mark.parametrize(
    ("weight", "before", "after"),
    [
        pytest.param(0.0, (-8.0, 8.0), (-0.05, 0.1), id="output far smaller than input"),
        pytest.param(0.0, (-100.0, 100.0), (-4.0, 4.0), id="large input"),
        pytest.param(0.0, (0.0, 1e-4), (-2.0, 2.0), id="output far larger than input"),
        pytest.param(1e-12, (-1.0, 1.0), (0.0, 40.0), id="weights next to nothing"),
    ],
)
def test_a_channel_without_weights_keeps_its_bias(trace_module, format_, weight, before, after):
    """It has no largest weight to take a scale from, in which the bias is stored."""
    import tensorflow as tf

    from perceiver_edge.converters.onnx.convert import to_onnx
    from perceiver_edge.converters.tflite.convert import to_tflite

    step, random = (after[1] - after[0]) / 255, np.random.default_rng(0)
    weights = random.normal(size=(8, 4)).astype(np.float32) * (after[1] / before[1] / 8)
    weights[:, 1:3] = weight * random.choice([-1, 1], (8, 2))
    bias = np.array([0.0, 0.9 * after[1], 0.31 * after[1], 0.5 * after[1]], np.float32)
    captured = tf.constant(weights), tf.constant(bias)

    def projection(x: tf.Tensor) -> tf.Tensor:
        with tf.name_scope("only"):
            return tf.nn.bias_add(tf.matmul(x, captured[0]), captured[1])

    traced = trace_module(projection, (2, 8))
    limits = {"only.input": before, "only.output": after}
    x = random.uniform(*before, (2, 8)).astype(np.float32)
    is_tflite = format_ == "tflite"
    content = (
        tflite_int8(to_tflite(traced), limits) if is_tflite else onnx_int8(to_onnx(traced), limits).SerializeToString()
    )
    assert np.abs(load(content)(x)[:, 1:3] - bias[1:3]).max() < step


@pytest.mark.parametrize(("change", "says"), [("lacks", "without calibrated ranges"), ("adds", "lacks products")])
def test_ranges_of_other_sites_are_refused(subject, change, says):
    model = subject("image_non_square")
    limits = {name: value for name, value in model.limits.items() if not name.startswith("classifier.")}
    if change == "adds":
        limits = model.limits | {"no.such.site.input": (0.0, 1.0), "no.such.site.output": (0.0, 1.0)}
    site = "classifier" if change == "lacks" else "no.such.site"
    for quantise in (lambda: tflite_int8(model.tflite, limits), lambda: onnx_int8(model.onnx, limits)):
        with pytest.raises(ConversionError, match=f"(?s){says}.*{site}"):
            quantise()
