"""LiteRT on a GPU: what says that there is none, what is refused, and, marked ``devices``, that it runs and is right.

The last need a Vulkan loader and a driver. Without a GPU, SwiftShader is one: Debian's ``libvulkan1``, and
``VK_DRIVER_FILES=/usr/lib/chromium/vk_swiftshader_icd.json`` of its ``chromium``.
"""

import sys

import numpy as np
import pytest

from perceiver_edge.errors import BadInputError, NotRunError, PerceiverEdgeError
from perceiver_edge.runtime import child, litert_gpu, load
from perceiver_edge.runtime.litert_gpu import LiteRtGpuRunner, refused_operators, run_on_gpu


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setenv("VK_DRIVER_FILES", "/no/such/driver.json")
    monkeypatch.setenv("VK_ICD_FILENAMES", "/no/such/driver.json")


def test_without_a_gpu_it_does_not_run_and_says_what_to_install(no_gpu, float_tflite, batch):
    with pytest.raises(NotRunError, match="libvulkan1") as caught:
        run_on_gpu(float_tflite, {"input": batch})
    assert caught.value.runtime == "LiteRT GPU"


def test_a_model_that_the_gpu_would_compute_wrongly_is_refused(no_gpu):
    with pytest.raises(BadInputError, match=r"would compute this model wrongly(.|\n)*ADD \[4, 3\]"):
        LiteRtGpuRunner(_sum_with_rows(), half=False, where="model")


def _sum_with_rows():
    import tensorflow as tf

    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    function = tf.function(lambda x: x + rows, input_signature=[tf.TensorSpec((4, 3), tf.float32)])
    return tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()]).convert()


@pytest.fixture
def worker(monkeypatch):
    """Have a program of some lines of Python in the place of the one that has a GPU."""
    return lambda code: monkeypatch.setattr(litert_gpu, "program", lambda _: [sys.executable, "-c", code])


def test_a_driver_that_crashes_is_an_error_of_ours(worker, float_tflite):
    crash = "import os, signal, sys; sys.stdin.buffer.read(1); os.kill(os.getpid(), signal.SIGSEGV)"
    worker(crash)
    with pytest.raises(PerceiverEdgeError, match="signal 11"):
        LiteRtGpuRunner(float_tflite, half=False, where="model")


def test_a_driver_that_hangs_is_an_error_of_ours(worker, monkeypatch, float_tflite):
    worker("import time; time.sleep(60)")
    monkeypatch.setattr(child, "LONGEST_S", 0.1)
    with pytest.raises(PerceiverEdgeError, match=r"within 0\.1 s"):
        LiteRtGpuRunner(float_tflite, half=False, where="model")


SAYS = """
import os, sys
import numpy as np
from perceiver_edge.runtime.serving import serve
def say(text): os.write(2, text.encode() + b"\\n")
def load(content, half):
    say("Selected adapter: A GPU, arch=x, adapterType=discrete")
    {loading}
    specs = {{"input": ((1, 4, 6), "<f4")}}, {{"logits": ((1, 3), "<f4")}}
    return dict(zip(("inputs", "outputs"), specs)), answer
def answer(feeds):
    {answering}
    return {{"call_ms": 1.0}}, {{"logits": np.full((1, 3), feeds["input"][0, 0, 0])}}
serve(load)
"""
INVALID = "say('Validation error: Texture size exceeded')"


@pytest.mark.parametrize("when", ["loading", "answering"])
@pytest.mark.parametrize("then", ["pass", "os.abort()"])
def test_what_webgpu_refuses_is_an_error_even_where_there_is_an_answer(worker, float_tflite, batch, when, then):
    """Outputs are zeros then, or LiteRT crashes."""
    worker(SAYS.format(**{"loading": "pass", "answering": "pass", when: f"{INVALID}; {then}"}))
    with pytest.raises(BadInputError, match=r"does not fit this GPU(.|\n)*Texture size exceeded"):
        run_on_gpu(float_tflite, {"input": batch})


def test_what_is_said_in_one_call_is_not_held_against_the_next(worker, float_tflite, batch):
    """And nothing that is written while the log is read gets lost."""
    worker(SAYS.format(loading="pass", answering=f"say('x' * 70_000); feeds['input'][0, 0, 0] != 7 or {INVALID}"))
    with LiteRtGpuRunner(float_tflite, half=False, where="model") as runner:
        for value, is_bad in ((1, False), (7, True), (2, False), (7, True)):
            feed = np.full_like(batch, value)
            if is_bad:
                with pytest.raises(BadInputError, match="does not fit this GPU"):
                    runner(feed)
            else:
                np.testing.assert_array_equal(runner(feed), np.full((1, 3), value, np.float32))


def test_a_failed_call_is_told(worker, float_tflite, batch):
    worker(SAYS.format(loading="pass", answering="raise RuntimeError('out of memory')"))
    with pytest.raises(PerceiverEdgeError, match=r"failed in a call(.|\n)*RuntimeError: out of memory"):
        run_on_gpu(float_tflite, {"input": batch})


def test_no_gpu_is_told_even_without_a_reason(worker, float_tflite):
    said = "say('Failed to initialize WebGPU environment'); raise RuntimeError"
    worker(SAYS.format(loading=said, answering="pass"))
    with pytest.raises(NotRunError, match="Failed to initialize WebGPU environment"):
        run_on_gpu(float_tflite, {})


def test_refused_operators_are_read_from_the_log():
    log = (
        "INFO: something\nERROR: Following operations are not supported by GPU delegate:\n"
        "BATCH_MATMUL: Not supported batched mat mul case: non-constant tensor\nDEQUANTIZE: \n"
        "125 operations will run on the GPU, and the remaining 26 operations will run on the CPU.\n"
    )
    assert refused_operators(log) == (
        "BATCH_MATMUL: Not supported batched mat mul case: non-constant tensor",
        "DEQUANTIZE: ",
    )
    assert refused_operators("INFO: all well\n") == ()


@pytest.mark.devices
def test_it_computes_what_the_cpu_computes(float_tflite, batch, expected):
    many = np.concatenate([batch, 2 * batch, -batch])
    outputs = run_on_gpu(float_tflite, {"input": many})
    assert outputs.shape == (3, 3)
    np.testing.assert_allclose(outputs[:1], expected, rtol=1e-5, atol=1e-6)
    on_cpu = load(float_tflite)
    np.testing.assert_allclose(outputs, np.stack([on_cpu(one) for one in many]), rtol=1e-5, atol=1e-6)


@pytest.mark.devices
def test_it_knows_its_inputs_and_its_adapter(float_tflite, batch):
    with LiteRtGpuRunner(float_tflite, half=False, where="model") as runner:
        assert runner.inputs == load(float_tflite).inputs
        assert runner.outputs == load(float_tflite).outputs
        assert runner.adapter
        runner(batch)
        assert runner.call_ms > 0


@pytest.mark.devices
def test_the_accelerator_still_misreads_a_constant_of_several_rows(worker):
    """Guards `misread_operators`: where this fails LiteRT is mended, and the refusal can go."""
    careless = "from perceiver_edge.runtime import litert_gpu_worker as w; w.misread_operators = lambda _: (); w.main()"
    worker(careless)
    model, x = _sum_with_rows(), np.ones((4, 3), np.float32)
    on_cpu = load(model)
    outputs = run_on_gpu(model, dict.fromkeys(on_cpu.inputs, x))
    assert not np.allclose(outputs, on_cpu(x), rtol=1e-2)
