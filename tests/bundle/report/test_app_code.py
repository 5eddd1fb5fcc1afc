"""The card's programs, for every kind of model: what they name, and that compilers take them.

`tests/commands/test_model_card.py` runs those of a real bundle.
"""

import ast
import dataclasses
import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from perceiver_edge.bundle.app_code import WEB_VERSION, labels_text
from perceiver_edge.bundle.card import render_model_card
from perceiver_edge.bundle.manifest import TensorSpec
from perceiver_edge.config import InputSpec
from perceiver_edge.files.preprocessing import RESIZE

STUBS = Path(__file__).parent / "stubs"


def code(card, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", card, flags=re.DOTALL | re.MULTILINE)


def with_inputs(manifest, *inputs):
    artefacts = {name: dataclasses.replace(a, inputs=inputs) for name, a in manifest.artefacts.items()}
    return dataclasses.replace(manifest, artefacts=artefacts)


def grey(manifest):
    return manifest


def colour(manifest):
    changed = with_inputs(manifest, TensorSpec(name="image", shape=(1, 20, 30, 3), dtype="float32"))
    spec = InputSpec(shape=(20, 30), image_mean=(0.1, 0.2, 0.3), image_std=(0.5,), resize="shortest")
    config = dataclasses.replace(manifest.config, input_channels=3)
    names = tuple(f"class {number}" for number in range(10))
    return dataclasses.replace(changed, input_spec=spec, config=config, class_names=names)


def squashed(manifest):
    return dataclasses.replace(manifest, input_spec=dataclasses.replace(manifest.input_spec, resize="squash"))


def cropped(manifest):
    return dataclasses.replace(manifest, input_spec=dataclasses.replace(manifest.input_spec, resize="crop"))


def sequence(manifest):
    inputs = (
        TensorSpec(name="data", shape=(2, 8, 3), dtype="float32"),
        TensorSpec(name="mask", shape=(2, 8), dtype="bool"),
    )
    config = dataclasses.replace(manifest.config, input_axis=1, input_channels=3)
    return dataclasses.replace(with_inputs(manifest, *inputs), input_spec=InputSpec(shape=(8,)), config=config)


def symbols(manifest):
    config = dataclasses.replace(manifest.config, input_axis=1)
    changed = with_inputs(manifest, TensorSpec(name="ids", shape=(1, 8), dtype="int32"))
    return dataclasses.replace(changed, input_spec=InputSpec(shape=(8,)), config=config)


def latents(manifest):
    return dataclasses.replace(manifest, config=dataclasses.replace(manifest.config, final_classifier_head=False))


KINDS = [grey, colour, squashed, cropped, sequence, symbols, latents]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def card(request, manifest, parity):
    return render_model_card(request.param(manifest), parity)


def test_no_way_of_resizing_is_unknown(manifest, parity):
    cards = set()
    for resize in RESIZE:
        spec = dataclasses.replace(manifest.input_spec, resize=resize)
        cards.add(render_model_card(dataclasses.replace(manifest, input_spec=spec), parity))
    assert len(cards) == len(RESIZE)


def test_every_language_has_its_program(card):
    counts = {language: len(code(card, language)) for language in ("python", "javascript", "cpp", "kotlin", "swift")}
    assert counts == {"python": 4, "javascript": 1, "cpp": 1, "kotlin": 2, "swift": 1}


def test_python_is_python_with_names_that_are_defined(card):
    for program in code(card, "python"):
        defined = {"print", "int", "bool", "min"}
        for node in ast.walk(ast.parse(program)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                defined |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                defined.add(node.id)
        used = {node.id for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Name)}
        assert used <= defined


def test_raw_markdown_has_no_entities(card):
    assert not re.search(r"&#?\w+;", card)
    assert "\n\n\n\n" not in card


def test_apps_get_this_models_files_names_and_shapes(manifest, parity):
    card = render_model_card(manifest, parity)
    for language, file in (("cpp", "onnx"), ("javascript", "onnx"), ("swift", "tflite")):
        (program,) = code(card, language)
        for expected in (f'"digits_int8.{file}"', '"image"', '"logits"'):
            assert expected in program
    litert, onnxruntime = code(card, "kotlin")
    assert '"digits_int8.tflite"' in litert
    assert "longArrayOf(1, 32, 32, 1)" in onnxruntime
    assert "(pixel / 255 - 0.5) / 0.25" in card


def test_a_mask_is_boolean_and_lets_everything_through(manifest, parity):
    card = render_model_card(sequence(manifest), parity)
    litert, onnxruntime = code(card, "kotlin")
    (swift,) = code(card, "swift")
    assert 'getValue("mask").writeBoolean(BooleanArray(16) { true })' in litert
    assert "ByteBuffer.wrap(ByteArray(16) { 1 }), longArrayOf(2, 8), OnnxJavaType.BOOL" in onnxruntime
    assert "[Bool](repeating: true, count: 16)" in swift
    assert "OnnxJavaType" not in render_model_card(manifest, parity)


@pytest.mark.parametrize("end", ["\n", "\r", "\x0b", "\x85", "\u2028", "\u2029"], ids=ascii)
def test_a_class_name_of_two_lines_is_in_no_file_of_lines(manifest, end):
    named = colour(manifest)
    assert labels_text(named) is not None
    names = (f"a{end}b", *named.class_names[1:])
    assert labels_text(dataclasses.replace(named, class_names=names)) is None


def test_class_names_are_read_where_there_are_some(manifest, parity):
    named, unnamed = (render_model_card(kind(manifest), parity) for kind in (colour, grey))
    for language in ("python", "javascript", "cpp", "kotlin", "swift"):
        assert "labels.txt" in code(named, language)[-1]
    assert "labels.txt" not in unnamed


def test_the_version_for_the_web_is_the_tested_one():
    from perceiver_edge.demo.packages import VERSIONS

    assert VERSIONS["onnxruntime-web"] == WEB_VERSION


@pytest.mark.parametrize("name", ['a"b', "a$b", "a\\(b)", "a\nb", "```", "ä 𝄞"])
def test_no_name_leaves_its_literal(name, manifest, parity):
    card = render_model_card(
        with_inputs(manifest, TensorSpec(name=name, shape=(1, 32, 32, 1), dtype="float32")), parity
    )
    kotlin, swift = code(card, "kotlin")[0], code(card, "swift")[0]
    (in_kotlin,) = re.findall(r'inputs\.getValue\("([^"]*)"\)', kotlin)
    assert re.fullmatch(r"([\w .-]|\\u[0-9a-f]{4})*", in_kotlin, re.ASCII)
    units = re.sub(r"\\u(....)", lambda match: chr(int(match[1], 16)), in_kotlin)
    assert units.encode("utf-16", "surrogatepass").decode("utf-16") == name
    (in_swift,) = re.findall(r'toInputNamed: "([^"]*)"', swift)
    assert re.sub(r"\\u\{(\w+)\}", lambda match: chr(int(match[1], 16)), in_swift) == name
    (in_cpp,) = re.findall(r'input_names\[\] = {"([^"]*)"}', code(card, "cpp")[0])
    as_bytes = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), in_cpp.encode())
    assert as_bytes.decode() == name
    (in_javascript,) = re.findall(r'\["([^"]*)"\]: new', code(card, "javascript")[0])
    assert json.loads(f'"{in_javascript}"') == name


@pytest.mark.devices
def test_kotlin_compiles(card, tmp_path):
    """Against stubs of Android, LiteRT and ONNX Runtime. The compiler comes with ``kotlin-jupyter-kernel``."""
    kernel = importlib.util.find_spec("run_kotlin_kernel")
    if kernel is None or kernel.origin is None or shutil.which("java") is None:
        pytest.skip("needs Java, and pip install kotlin-jupyter-kernel for its compiler")
    jars = sorted((Path(kernel.origin).parent / "jars").glob("*.jar"))
    compiler, library = (next(jar for jar in jars if jar.name.startswith(name)) for name in
                         ("kotlin-jupyter-kernel", "kotlin-stdlib"))  # fmt: skip
    programs = code(card, "kotlin")
    for number, program in enumerate(programs):
        (tmp_path / f"Answer{number}.kt").write_text(f"package answer{number}\n{program}")
    subprocess.run(
        [
            "java", "-cp", str(compiler), "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler", "-no-stdlib", "-Werror",
            "-cp", str(library), "-d", str(tmp_path / "out"), str(STUBS), *map(str, tmp_path.glob("*.kt")),
        ],
        check=True, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert len(list((tmp_path / "out").rglob("Answer*Kt.class"))) == len(programs)


@pytest.mark.devices
def test_swift_parses(card):
    tree_sitter = pytest.importorskip("tree_sitter", reason="needs pip install tree_sitter tree_sitter_swift")
    swift = pytest.importorskip("tree_sitter_swift")
    parser = tree_sitter.Parser(tree_sitter.Language(swift.language()))
    (program,) = code(card, "swift")
    assert not parser.parse(program.encode()).root_node.has_error
    assert parser.parse(program.replace("{", "", 1).encode()).root_node.has_error
