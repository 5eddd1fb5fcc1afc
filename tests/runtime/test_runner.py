import numpy as np
import pytest

from perceiver_edge.errors import BadInputError, MissingExtraError
from perceiver_edge.runtime import Runner, TensorSpec, load
from perceiver_edge.runtime._tflite import make_interpreter


@pytest.fixture(params=["float_tflite", "float_onnx"])
def model(request):
    return request.getfixturevalue(request.param)


def test_agrees_with_numpy(model, batch, expected):
    np.testing.assert_allclose(load(model)(batch), expected, rtol=1e-5)


def test_int8_is_near_and_not_equal(int8_tflite, batch, expected):
    logits = load(int8_tflite)(batch)
    np.testing.assert_allclose(logits, expected, atol=0.1)
    assert np.abs(logits - expected).max() > 1e-5


def test_names_shapes_and_dtypes_are_the_signatures(model):
    runner = load(model)
    assert runner.inputs == {"input": TensorSpec((1, 4, 6), np.dtype(np.float32))}
    assert runner.outputs == {"logits": TensorSpec((1, 3), np.dtype(np.float32))}


def test_engine_is_chosen_by_content(float_tflite, float_onnx, tmp_path):
    misnamed = tmp_path / "model.onnx"
    misnamed.write_bytes(float_tflite)
    assert load(misnamed).engine == "litert"
    assert load(str(misnamed)).engine == "litert"
    assert load(float_onnx).engine == "onnxruntime"


def test_without_batch_dimension_in_and_out(model, batch, expected):
    logits = load(model)(batch[0])
    assert logits.shape == (3,)
    np.testing.assert_allclose(logits, expected[0], rtol=1e-5)


def test_feeds_by_name_and_strided_arrays_are_the_same_input(model, batch):
    runner = load(model)
    strided = np.repeat(batch, 2, axis=2)[:, :, ::2]
    assert not strided.flags.c_contiguous
    np.testing.assert_array_equal(runner({"input": strided}), runner(batch))


def test_outputs_survive_the_next_call(model, batch):
    runner = load(model)
    first = runner(batch)
    kept = first.copy()
    runner(batch + 1)
    np.testing.assert_array_equal(first, kept)
    first[:] = 0  # the caller may write to it
    np.testing.assert_array_equal(runner(batch), kept)


def test_threads_may_share_a_runner(model, batch, in_threads):
    runner = load(model, threads=2)
    feeds = [batch + i for i in range(8)]
    alone = [runner(feed) for feed in feeds]
    wrong = []

    def work(i):
        for _ in range(50):
            if not np.array_equal(runner(feeds[i]), alone[i]):
                wrong.append(i)

    in_threads(work, 8)
    assert not wrong


def test_several_inputs_and_outputs_go_by_name(masked_onnx):
    feeds = {"mask": np.array([[True, False, True, False]]), "input": np.float32([[1, 2, 4, 8]])}
    results = load(masked_onnx)(feeds)
    assert {name: array.tolist() for name, array in results.items()} == {"logits": [5], "count": [2]}
    single = load(masked_onnx)({name: array[0] for name, array in feeds.items()})
    assert single["logits"].shape == ()
    assert single["logits"] == 5


def test_inputs_with_and_without_batch_do_not_mix(masked_onnx):
    with pytest.raises(BadInputError, match="all with or all without"):
        load(masked_onnx)({"input": np.ones((1, 4), np.float32), "mask": np.ones(4, bool)})


def test_a_missing_input_is_named(masked_onnx):
    with pytest.raises(BadInputError, match=r"expected:.*mask \(bool \[1, 4\]\)"):
        load(masked_onnx)(np.ones((1, 4), np.float32))


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        (np.ones((1, 4, 6)), r"expected:\s+float32\n\s+got:\s+float64\n\s+fix:.*astype\('float32'\)"),
        (np.ones((1, 4, 6), np.uint8), r"got:\s+uint8"),
        (np.ones((1, 4, 7), np.float32), r"expected:\s+input \[1, 4, 6\].*\n\s+got:\s+input \[1, 4, 7\]"),
        (np.ones((2, 4, 6), np.float32), r"got:\s+input \[2, 4, 6\]"),
        (np.ones((6,), np.float32), r"got:\s+input \[6\]"),
        ({"image": np.ones((1, 4, 6), np.float32)}, r"expected:\s+input .*\n\s+got:\s+image"),
        ({}, r"got:\s+nothing"),
    ],
)
def test_a_wrong_feed_says_what_was_expected(model, feeds, message):
    with pytest.raises(BadInputError, match=message):
        load(model)(feeds)


@pytest.mark.parametrize("damage", [b"", b"not a model, only some text", b"\x1c\0\0\0TFL3" + b"\xff" * 200])
def test_what_is_no_model_is_bad_input(damage, tmp_path):
    path = tmp_path / "broken"
    path.write_bytes(damage)
    with pytest.raises(BadInputError, match="broken"):
        load(path)


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_truncated_model_is_bad_input(model, kept):
    with pytest.raises(BadInputError, match=r"undamaged|cut short"):
        load(model[: int(len(model) * kept)])


@pytest.mark.parametrize("path", ["absent.tflite", "."])
def test_an_unreadable_file_is_bad_input(path, tmp_path):
    with pytest.raises(BadInputError, match="cannot be read"):
        load(tmp_path / path)


@pytest.mark.parametrize("threads", [0, -1, 1.5, True])
def test_threads_are_at_least_one(float_tflite, threads):
    with pytest.raises(BadInputError, match="threads"):
        load(float_tflite, threads=threads)


def test_an_engine_of_the_other_format_is_refused(float_tflite, float_onnx):
    with pytest.raises(BadInputError, match="format"):
        load(float_tflite, engine="onnxruntime")
    with pytest.raises(BadInputError, match="format"):
        load(float_onnx, engine="litert")
    with pytest.raises(BadInputError, match="No such engine"):
        load(float_onnx, engine="tensorrt")


def test_a_missing_engine_names_its_extra(float_tflite):
    with pytest.raises(MissingExtraError, match=r"perceiver-edge\[tflite-runtime\]"):
        load(float_tflite, engine="tflite_runtime")


def test_loading_is_quiet(model, capfd):
    load(model)
    with pytest.raises(BadInputError):
        load(model[:-20])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("damage", [b"\xff", b"\x00", b"\xf0"])
def test_a_refused_model_prints_nothing(float_onnx, damage, capfd):
    """Standard output is the program's own: ONNX Runtime would print that it falls back."""
    name = b"MatMul"
    assert float_onnx.count(name)
    with pytest.raises(BadInputError):
        load(float_onnx.replace(name, damage + name[1:]))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Didn't find op for builtin opcode 'FULLY_CONNECTED' version '12'.", "a newer version of the engine"),
        ("Didn't find op for builtin opcode 'GELU'", "a newer version of the engine"),
        ("Model provided has model identifier 'abcd'", "an undamaged .tflite model"),
    ],
)
def test_a_refusal_says_whether_the_engine_is_too_old_or_the_file_damaged(said, told):
    def create():
        raise ValueError(said)

    with pytest.raises(BadInputError) as caught:
        make_interpreter(create, "a.tflite")
    assert told in str(caught.value)
    assert said in str(caught.value)


class Shaped(Runner):
    """Answers zeros of a shape to inputs of a shape."""

    def __init__(self, given, answered):
        specs = ({"x": TensorSpec(shape, np.dtype(np.float32))} for shape in (given, answered))
        super().__init__(*specs)

    def _run(self, feeds):
        return {"x": np.zeros(self.outputs["x"].shape, np.float32)}


@pytest.mark.parametrize(("given", "answered"), [((1, 3), (10,)), ((1, 3), ()), ((4, 3), (1, 7)), ((4, 3), (5, 7))])
def test_an_output_without_a_row_for_each_sample_is_no_batchs(given, answered):
    with pytest.raises(BadInputError, match="is not of samples side by side"):
        Shaped(given, answered).batch(np.zeros((6, 3), np.float32))
    assert Shaped((4, 3), (4, 7)).batch(np.zeros((6, 3), np.float32)).shape == (6, 7)


def test_a_model_of_a_scalar_takes_no_batch():
    with pytest.raises(BadInputError, match="no samples side by side"):
        Shaped((), ()).batch(np.zeros(6, np.float32))


@pytest.mark.parametrize("feeds", [[[1, 2], [3]], [None], {"x": [[1, 2], [3]]}, object(), "text"])
def test_what_is_no_array_is_bad_input(feeds):
    for use in (Shaped((1, 3), (1, 3)), Shaped((1, 3), (1, 3)).batch, Shaped((1, 3), (1, 3)).top):
        with pytest.raises(BadInputError):
            use(feeds)


@pytest.mark.parametrize("answered", [(1,), (), (1, 0), (0,), (2, 3)])
def test_what_are_no_logits_of_one_sample_have_no_likeliest_class(answered):
    for feeds in (np.zeros((1, 3), np.float32), np.zeros(3, np.float32)):
        with pytest.raises(BadInputError, match="likeliest class"):
            Shaped((1, 3), answered).top(feeds)
