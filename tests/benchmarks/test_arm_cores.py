"""The estimate for Arm cores counts every product, and the page of devices is what the results say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import perceiver_edge

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("transposed", [False, True])
def test_products_with_weights_and_between_activations_are_counted(transposed, monkeypatch):
    import tensorflow as tf

    monkeypatch.syspath_prepend(str(BENCHMARKS / "mobile"))
    from estimate import Macs, count_macs

    weight = tf.constant(1.0, shape=(7, 11))
    right = (2, 7, 5) if transposed else (2, 5, 7)

    @tf.function(input_signature=[tf.TensorSpec((2, 3, 5)), tf.TensorSpec(right)])
    def products(left, right):
        return tf.matmul(tf.matmul(left, right, transpose_b=transposed), weight)

    module = tf.Module()
    module.products = products
    converter = tf.lite.TFLiteConverter.from_concrete_functions([products.get_concrete_function()], module)
    assert count_macs(converter.convert()) == Macs(int8=0, float32=2 * 3 * 5 * 7 + 2 * 3 * 7 * 11)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("estimate")
    perceiver_edge.compile("tiny", samples="random", output=folder / "bundle", formats=("tflite",))
    command = [sys.executable, BENCHMARKS / "mobile" / "estimate.py", folder / "bundle", "--output", folder / "a.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "not measured" in done.stdout
    cores = json.loads((folder / "bundle" / "calibration.json").read_text())["cores"]
    return json.loads((folder / "a.json").read_text()) | {"integer_cores": len(cores)}


def test_int8_changes_the_type_of_products_and_adds_the_channels_of_ones(result):
    float32, int8 = (
        next(row["macs"] for row in result["rows"] if kind in row["artefact"]) for kind in ("fp32", "int8")
    )
    assert float32["int8"] == 0
    assert int8["int8"] > 0
    # An integer core has three more channels in its keys and values, for 8 rows and 256 tokens.
    assert int8["int8"] + int8["float32"] == float32["float32"] + result["integer_cores"] * 8 * 256 * (3 + 3)


def test_a_core_with_dot_products_gains_by_int8_what_its_rates_say(result):
    for row in result["rows"]:
        for core in result["cores"]:
            cycles = row["macs"]["int8"] / core["int8_macs"] + row["macs"]["float32"] / core["float32_macs"]
            assert row["least_ms"][core["name"]] == pytest.approx(cycles / core["clock_ghz"] / 1e6)


def test_the_committed_page_is_made_from_the_committed_results(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import devices_page

    assert devices_page.PAGE.read_text(encoding="utf-8") == devices_page.page(BENCHMARKS / "results")
