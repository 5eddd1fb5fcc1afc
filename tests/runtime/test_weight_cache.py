"""Packed weights in a file: the plain runner's answers, whatever lies in the folder."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from perceiver_edge.errors import BadInputError
from perceiver_edge.runtime import litert_cached, load, weight_cache


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "some" / "cache"


@pytest.fixture
def file(float_tflite, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(float_tflite)
    return path


def state(cache):
    """Of each file in the folder: what it is, and when it was written."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in cache.iterdir()}


@pytest.mark.parametrize("model", ["float_tflite", "int8_tflite", "masked_tflite"])
@pytest.mark.parametrize("threads", [None, 2])
def test_inputs_outputs_and_answers_are_the_plain_runners(model, threads, file, cache, request):
    file.write_bytes(request.getfixturevalue(model))
    plain = load(file, threads=threads)
    rng = np.random.default_rng(3)
    feeds = {name: rng.normal(size=spec.shape).astype(spec.dtype) for name, spec in plain.inputs.items()}
    for _ in ("packs", "maps"):
        cached = load(file, threads=threads, weight_cache=cache)
        assert cached.engine == "litert"
        assert list(cached.inputs.items()) == list(plain.inputs.items())
        assert list(cached.outputs.items()) == list(plain.outputs.items())
        np.testing.assert_equal(cached(feeds), plain(feeds))


def test_several_inputs_and_outputs_go_by_name(masked_tflite, file, cache):
    file.write_bytes(masked_tflite)
    results = load(file, weight_cache=cache)({"mask": np.eye(6, dtype=bool)[:1], "input": np.ones((1, 6), np.float32)})
    assert results["count"] == [1]
    assert results["logits"].shape == (1, 8)


def test_a_model_that_looks_integers_up_is_tried_with_rows_that_its_table_has(embedding_tflite, file, cache):
    file.write_bytes(embedding_tflite)
    feeds = {"input": np.array([[2, 0, 1, 2]], np.int32)}
    np.testing.assert_equal(load(file, weight_cache=cache)(feeds), load(file)(feeds))


def test_a_second_load_writes_nothing_whatever_its_threads(file, cache):
    load(file, weight_cache=cache, threads=1)
    before = state(cache)
    assert len(before) == 1
    load(file, weight_cache=cache, threads=2)
    assert state(cache) == before


def test_another_model_in_the_same_file_has_weights_of_its_own(file, negated_tflite, batch, expected, cache):
    load(file, weight_cache=cache)
    file.write_bytes(negated_tflite)
    np.testing.assert_allclose(load(file, weight_cache=cache)(batch), -expected, rtol=1e-5)
    assert len(state(cache)) == 2


def test_xnnpack_still_believes_the_weights_of_another_model(file, negated_tflite, batch, expected, cache):
    """Guards the names: where this fails XNNPACK checks itself."""
    load(file, weight_cache=cache)
    (of_first,) = cache.iterdir()
    file.write_bytes(negated_tflite)
    load(file, weight_cache=cache)
    (of_second,) = set(cache.iterdir()) - {of_first}
    of_model = of_second.name.rpartition("_")[0]
    of_content = of_first.name.rpartition("_")[2]
    of_first.rename(cache / f"{of_model}_{of_content}")
    of_second.unlink()
    np.testing.assert_allclose(load(file, weight_cache=cache)(batch), expected, rtol=1e-5)


def flipped(content, start, stop):
    return content[:start] + bytes(255 - byte for byte in content[start:stop]) + content[stop:]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: flipped(content, 0, 32),
        lambda content: flipped(content, 128, 512),
        lambda content: flipped(content, len(content) - 64, len(content)),
    ],
    ids=["empty", "half", "one byte short", "header", "weights", "list of weights"],
)
def test_a_damaged_file_is_packed_again(damage, file, batch, cache):
    first = load(file, weight_cache=cache)
    answers = first(batch)
    (packed,) = cache.iterdir()
    whole = packed.read_bytes()
    damaged = packed.with_name("damaged")
    damaged.write_bytes(damage(whole))
    damaged.replace(packed)
    np.testing.assert_array_equal(load(file, weight_cache=cache)(batch), answers)
    assert list(cache.iterdir()) == [packed]
    assert packed.read_bytes() == whole
    np.testing.assert_array_equal(first(batch), answers)  # it still maps the file that was replaced


LOADS = """
import sys
import numpy as np
from perceiver_edge.runtime import load
print("ready", flush=True)
sys.stdin.readline()
print(load(sys.argv[1], weight_cache=sys.argv[2])(np.load(sys.argv[3])).tolist())
"""


def test_processes_may_pack_at_once_and_say_nothing(file, batch, cache, tmp_path):
    np.save(tmp_path / "batch.npy", batch)
    command = [sys.executable, "-c", LOADS, str(file), str(cache), str(tmp_path / "batch.npy")]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    processes = [subprocess.Popen(command, text=True, cwd=tmp_path, **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60) for process in processes] == [(f"{load(file)(batch).tolist()}\n", "")] * 3
    assert len(state(cache)) == 1


def test_loading_running_and_letting_go_is_quiet(file, batch, cache, capfd):
    runner = load(file, weight_cache=cache)
    runner(batch)
    del runner
    assert capfd.readouterr() == ("", "")


def test_threads_may_share_a_runner_and_outputs_are_theirs(file, batch, cache, in_threads):
    plain, runner = load(file), load(file, weight_cache=cache, threads=2)
    wrong = []

    def work(i):
        outputs = [runner(batch + i) for _ in range(50)]
        if not all(np.array_equal(output, plain(batch + i)) for output in outputs):
            wrong.append(i)

    in_threads(work, 4)
    assert not wrong


def test_what_is_no_tflite_file_for_litert_is_refused(file, float_tflite, float_onnx, cache, tmp_path):
    onnx = tmp_path / "model.onnx"
    onnx.write_bytes(float_onnx)
    for model, engine, message in [
        (float_tflite, None, "for files"),
        (onnx, None, r"LiteRT's\.\n(.|\n)*model\.onnx"),
        (file, "tflite_runtime", "no weight cache"),
        (onnx, "onnxruntime", "no weight cache"),
        (tmp_path / "absent.tflite", None, "cannot be read"),
    ]:
        with pytest.raises(BadInputError, match=message):
            load(model, engine=engine, weight_cache=cache)
    assert not cache.exists()


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_truncated_model_is_bad_input_and_leaves_nothing(kept, file, float_tflite, cache, capfd):
    file.write_bytes(float_tflite[: int(len(float_tflite) * kept)])
    with pytest.raises(BadInputError, match=r"undamaged(.|\n)*model\.tflite"):
        load(file, weight_cache=cache)
    assert not state(cache)
    assert capfd.readouterr() == ("", "")


def test_an_arm_processor_that_litert_would_end_on_is_refused(file, cache, monkeypatch, tmp_path):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr(litert_cached, "_CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("Features\t: fp asimd crc32 cpuid\nCPU part\t: 0xd08\n")
    with pytest.raises(BadInputError, match=r"ARMv8\.1 or newer(.|\n)*omit weight_cache"):
        load(file, weight_cache=cache)
    assert not cache.exists()
    (tmp_path / "cpuinfo").write_text("Features\t: fp asimd crc32 atomics cpuid\n")
    load(file, weight_cache=cache)


def test_a_folder_that_cannot_be_written_is_named(file, tmp_path):
    with pytest.raises(BadInputError, match=r"folder to read and to write(.|\n)*model\.tflite/cache"):
        load(file, weight_cache=file / "cache")


def test_a_full_disk_is_named_before_xnnpack_meets_it(file, cache, monkeypatch):
    monkeypatch.setattr(weight_cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(BadInputError, match=r"no room(.|\n)*got:\s+100"):
        load(file, weight_cache=cache)
    assert not state(cache)
