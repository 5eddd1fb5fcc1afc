"""ONNX Runtime on a GPU: what is said without one; the binding and the record of nodes, on the CPU provider."""

import numpy as np
import onnxruntime
import pytest

from perceiver_edge.errors import BadInputError, NotRunError
from perceiver_edge.runtime import load, onnxruntime_cuda
from perceiver_edge.runtime.onnxruntime_cuda import Binding, OnnxRuntimeCudaRunner, nodes_by_provider, require_all_on

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
HAS_CUDA = CUDA in onnxruntime.get_available_providers()
ASSIGNMENT = "get_provider_graph_assignment_info"
SAYS_WHERE = pytest.mark.skipif(
    not hasattr(onnxruntime.InferenceSession, ASSIGNMENT), reason="needs onnxruntime 1.24.1 or newer"
)


@pytest.fixture
def session(float_onnx):
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return onnxruntime.InferenceSession(float_onnx, options, providers=[CPU])


@pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime has CUDA")
def test_without_cuda_it_does_not_run_and_says_what_to_install(float_onnx):
    with pytest.raises(NotRunError, match="onnxruntime-gpu") as caught:
        OnnxRuntimeCudaRunner(float_onnx, where="model")
    assert caught.value.runtime == "ONNX Runtime CUDA"


def test_one_that_cannot_say_where_nodes_run_is_refused(float_onnx, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA])
    monkeypatch.setattr(onnxruntime, "InferenceSession", object)
    with pytest.raises(NotRunError, match=r"1\.24\.1 or newer"):
        OnnxRuntimeCudaRunner(float_onnx, where="model")


def test_a_binding_computes_on_what_was_put_last(session, float_onnx, batch, expected):
    specs = load(float_onnx)
    binding = Binding(session, specs.inputs, specs.outputs, device="cpu")
    binding.put({"input": 2 * batch})
    binding.run()
    doubled = binding.get()["logits"]
    np.testing.assert_allclose(doubled, specs(2 * batch), rtol=1e-6)
    binding.put({"input": batch})
    binding.run()
    np.testing.assert_allclose(binding.get()["logits"], expected, rtol=1e-5)
    np.testing.assert_allclose(doubled, specs(2 * batch), rtol=1e-6)  # the arrays are the caller's


@SAYS_WHERE
def test_nodes_are_counted_by_provider(session):
    assert nodes_by_provider(session) == {CPU: 5}


@SAYS_WHERE
def test_a_node_on_the_cpu_is_no_silent_fallback(session):
    require_all_on(CPU, session.get_providers(), nodes_by_provider(session))
    with pytest.raises(NotRunError, match=r"elsewhere: \{'CPUExecutionProvider': 5\}"):
        require_all_on(CUDA, session.get_providers(), nodes_by_provider(session))
    with pytest.raises(NotRunError, match="providers: CPUExecutionProvider"):
        require_all_on(CUDA, [CPU], {CUDA: 5})


@pytest.mark.devices
@pytest.mark.skipif(not HAS_CUDA, reason="needs onnxruntime-gpu and an NVIDIA GPU")
def test_on_a_gpu_it_computes_the_same(float_onnx, batch, expected):
    runner = OnnxRuntimeCudaRunner(float_onnx, where="model")
    np.testing.assert_allclose(runner(batch), expected, rtol=1e-3)  # TF32
    assert set(runner.nodes) == {CUDA}


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("CUDA failure 100: no CUDA-capable device is detected", NotRunError),
        ("CUDA failure 2: out of memory", BadInputError),
    ],
)
def test_only_a_gpu_that_is_not_here_did_not_run(message, kind, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError(message)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(fail, ASSIGNMENT, None, raising=False)
    monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    with pytest.raises(kind):
        OnnxRuntimeCudaRunner(b"", where="model")


@pytest.fixture
def on_the_cpu(monkeypatch):
    """Let the runner take the CPU for its GPU."""
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(onnxruntime_cuda, "_PROVIDER", CPU)
    monkeypatch.setattr(onnxruntime_cuda, "nodes_by_provider", lambda _: {CPU: 5})
    monkeypatch.setattr(onnxruntime_cuda, "Binding", lambda *a, device: Binding(*a, device="cpu"))
    real = onnxruntime.InferenceSession

    def session(content, *_, **__):
        return real(content, providers=[CPU])

    monkeypatch.setattr(session, ASSIGNMENT, None, raising=False)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)


def test_threads_may_share_a_runner(on_the_cpu, float_onnx, batch, in_threads):
    runner, wrong = OnnxRuntimeCudaRunner(float_onnx, where="model"), []
    alone = [runner(batch + number) for number in range(4)]

    def work(number):
        wrong.extend(number for _ in range(200) if not np.array_equal(runner(batch + number), alone[number]))

    in_threads(work, 4)
    assert not wrong


def test_an_open_shape_is_bad_input(on_the_cpu, float_onnx):
    import onnx

    model = onnx.load_model_from_string(float_onnx)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "tokens"
    with pytest.raises(BadInputError, match="'input' has an open shape"):
        OnnxRuntimeCudaRunner(model.SerializeToString(), where="model")
