"""python -m perceiver_edge.demo, but for what needs a browser."""

import re
import subprocess
import sys
from urllib.request import urlopen

from perceiver_edge.commands.demo import main


def test_without_the_engines_it_says_what_to_install(tiny, tmp_path, capsys):
    assert main([str(tiny.path), "--node-modules", str(tmp_path / "node_modules"), "--no-open"]) == 2
    assert f"npm install --prefix {tmp_path}" in capsys.readouterr().err


def test_what_is_no_bundle_is_refused(tmp_path, capsys):
    assert main([str(tmp_path), "--no-open"]) == 2
    assert "manifest" in capsys.readouterr().err


def test_export(tiny, node_modules, tmp_path, capsys):
    folder = tmp_path / "public"
    assert main([str(tiny.path), "--node-modules", str(node_modules), "--export", str(folder)]) == 0
    assert (folder / "index.html").is_file()
    assert "Cross-Origin-Embedder-Policy: require-corp" in capsys.readouterr().out


def test_serving(tiny, node_modules):
    command = [sys.executable, "-m", "perceiver_edge.demo", tiny.path, "--node-modules", node_modules, "--no-open"]
    with subprocess.Popen([*map(str, command), "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        address = re.match(r"http://\S+", process.stdout.readline())[0]
        with urlopen(address) as page:
            assert b"<title>perceiver_edge</title>" in page.read()
        process.terminate()
