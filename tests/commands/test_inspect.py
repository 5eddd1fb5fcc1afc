import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from perceiver_edge.commands.inspect import main
from perceiver_edge.commands.tables import add_row, mark, new_table, print_table
from perceiver_edge.progress import on_console, result_console


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["input", "w"], ["hid[den]"]),
            helper.make_node("Softmax", ["hid[den]"], ["logits"]),
        ],
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.ones((4, 3), np.float32), "w")],
    )
    path = tmp_path_factory.mktemp("inspect") / "model.onnx"
    opset = [helper.make_opsetid("", 18)]
    path.write_bytes(helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString())
    return path


def test_tables_show_what_is_inside(model, capsys):
    assert main([str(model)]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    for text in (
        "ai.onnx 18",
        "input: float32 1×4",
        "float32 48 bytes",
        "0 of 1 (0%), 0.0% of their MACs",
        "hid[den]",
        hashlib.sha256(model.read_bytes()).hexdigest(),
    ):
        assert text in shown.out
    assert "\x1b" not in shown.out


def test_json_is_whole(model, capsys):
    assert main([str(model), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bytes"] == model.stat().st_size
    assert told["operators"] == {"MatMul": 1, "Softmax": 1}
    assert told["gemms"][0]["macs"] == 12
    assert told["int8_gemm_share"] == 0


@pytest.mark.parametrize("content", [None, b"", b"hello"])
def test_what_is_no_model_is_one_message_and_exit_code_2(content, tmp_path, capsys):
    path = tmp_path / "file.onnx"
    if content is not None:
        path.write_bytes(content)
    assert main([str(path)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert "file.onnx" in told.err


def test_help_imports_nothing_heavy():
    script = """
import sys
from perceiver_edge.commands.inspect import main
try:
    main(["--help"])
finally:
    heavy = {"tensorflow", "numpy", "onnx", "onnxruntime", "ai_edge_litert", "rich"}
    print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "usage: python -m perceiver_edge.inspect" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_names_of_a_file_style_and_steer_no_terminal(capsys):
    console = result_console()
    print_table(console, [{"artefact": "a[b]_int8", "": mark(True)}], title="[red]t[/red]")
    table = new_table("name", title="a[b]")
    add_row(table, "[b]\x1b[2J")
    console.print(table)
    with on_console(quiet=False)("prove a[b]_int8"):
        pass
    shown = capsys.readouterr()
    assert all(text in shown.out for text in ("a[b]_int8", "✓", "[red]t[/red]", "[b]\\x1b[2J"))
    assert "prove a[b]_int8" in shown.err
    assert "\x1b" not in shown.out + shown.err
