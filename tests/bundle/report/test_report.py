import dataclasses
import re
import sys
from html.parser import HTMLParser

import pytest

from perceiver_edge.bundle.report import render_report
from perceiver_edge.errors import MissingExtraError

VOID = {"meta", "br", "link", "img"}


class Page(HTMLParser):
    """Collects text by element and checks that elements are closed in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.rows, self.words, self.attributes = [], [], [], []
        self.feed(html.replace("<wbr>", ""))
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag == "tr":
            self.rows.append([])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open and data.strip():
            self.words.append(" ".join(data.split()))
            if "tr" in self.open:
                self.rows[-1].append(self.words[-1])

    def row(self, *words):
        return next(" ".join(row) for row in self.rows if all(word in " ".join(row) for word in words))

    @property
    def text(self):
        return " ".join(self.words)


def test_artefact_row_has_size_gain_latency_accuracy_and_verdict(manifest, parity, latency):
    row = Page(render_report(manifest, parity, latency=latency)).row("digits_int8.tflite", "smaller")
    for expected in ("1.25 MB", "3.20× smaller", "100.0 %", "4 ms", "2.00×", "✓ passed"):
        assert expected in row


def test_float_files_are_not_smaller_than_themselves(manifest, parity, latency):
    row = Page(render_report(manifest, parity, latency=latency)).row("digits_fp32.tflite", "MB")
    assert "smaller" not in row
    assert "1.00×" not in row


def test_what_was_not_timed_says_so_and_without_times_there_is_no_latency(manifest, parity, latency):
    page = Page(render_report(manifest, parity, latency=latency, device="one phone"))
    assert "not measured" in page.row("digits_int8.onnx", "MB")
    assert "one phone" in page.text
    assert "Latency" not in Page(render_report(manifest, parity)).text


def test_latency_bars_are_to_scale(manifest, parity, latency):
    html = render_report(manifest, parity, latency=latency)
    assert re.findall(r'<div class="track"><span style="width: ([\d.]+)%"', html)[:3] == ["100.0", "50.0", "75.0"]


def test_parity_table_has_value_bound_and_mark_of_each_check(manifest, parity):
    page = Page(render_report(manifest, parity))
    row = page.row("digits_int8.onnx", "SQNR")
    for check in parity.artefacts[3].judgement.checks:
        assert check.bound in row
    assert row.count("✓") == len(parity.artefacts[3].judgement.checks)
    assert "✗" not in page.text


def test_a_failure_is_marked_where_it_happened_and_at_the_top(manifest, failed):
    page = Page(render_report(manifest, failed))
    assert page.row("digits_int8.tflite", "SQNR").count("✗") == 5
    assert "NaN" in page.row("digits_int8.tflite", "SQNR")
    assert "✗" not in page.row("digits_int8.onnx", "SQNR")
    assert "Parity: ✗ failed" in page.text


def test_layers_have_bars_on_a_log_scale_and_the_entry_is_marked(manifest, parity):
    html = render_report(manifest, parity)
    bars = re.findall(r'<span( class="entry")? style="width: ([\d.]+)%"', html)
    assert len(bars) == 4 * 5
    int8 = bars[5:10]
    # Errors 0.001 and 0.01 of a scale from 1e-7 to 1: 4/7 and 5/7 of the track.
    assert [float(width) for _, width in int8[:2]] == pytest.approx([57.1, 71.4], abs=0.1)
    assert [bool(entry) for entry, _ in int8] == [False, True, False, False, False]


def test_everything_the_manifest_knows_is_there(manifest, parity):
    text = Page(render_report(manifest, parity)).text
    for expected in (
        "261 channels > 64: 1.83 → 4.10 GMAC",
        "percentile",
        "128 from digits, calibration part",
        "layers.1.ff.gelu",
        "FULLY_CONNECTED 12",
        "layers.0.cross_attn: BATCH_MATMUL, SOFTMAX",
        manifest.weights_fingerprint,
        "tensorflow 2.21.0",
        "num_freq_bands 4",
        *(artefact.sha256 for artefact in manifest.artefacts.values()),
    ):
        assert expected in text


def random_weights(manifest, parity):
    return dataclasses.replace(manifest, is_random_weights=True), parity


def random_calibration(manifest, parity):
    return dataclasses.replace(manifest, calibration=dataclasses.replace(manifest.calibration, is_random=True)), parity


def random_parity(manifest, parity):
    return manifest, dataclasses.replace(parity, is_random_data=True)


def loosened(manifest, parity):
    return manifest, dataclasses.replace(parity, gate_overrides={"cosine": 0.5})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (random_weights, "weights are random"),
        (random_calibration, "Calibration used random data"),
        (random_parity, "Parity was measured on random data"),
        (loosened, "changed from their defaults: cosine 0.5"),
    ],
)
def test_what_devalues_the_result_has_a_banner(manifest, parity, change, says):
    assert 'class="warning"' not in render_report(manifest, parity)
    html = render_report(*change(manifest, parity))
    assert 'class="warning"' in html
    assert says in html


def test_page_needs_nothing_from_outside_and_no_script(manifest, parity, latency):
    html = render_report(manifest, parity, latency=latency)
    assert not re.search(r"https?:|//\w|<script|<link|<img|@import|url\(", html)
    assert not any(name in ("src", "href", "onload", "onclick") for name, _ in Page(html).attributes)
    assert "prefers-color-scheme: dark" in html
    assert "width=device-width" in html


def test_names_are_text_never_markup(manifest, parity):
    evil = "<img src=x onerror=alert(1)>\"'"
    html = render_report(dataclasses.replace(manifest, name=evil, tools={evil: evil}), parity)
    assert "<img" not in html
    assert evil in Page(html).text


def test_same_values_same_page(manifest, parity, latency):
    assert render_report(manifest, parity, latency=latency) == render_report(manifest, parity, latency=latency)


def test_models_without_calibration_layers_or_census(manifest, parity):
    bare = dataclasses.replace(
        manifest,
        calibration=None,
        lowering=(),
        artefacts={name: dataclasses.replace(a, census={}) for name, a in manifest.artefacts.items()},
    )
    layerless = dataclasses.replace(
        parity, artefacts=tuple(dataclasses.replace(artefact, layers=()) for artefact in parity.artefacts)
    )
    page = Page(render_report(bare, layerless))
    assert "no file has static int8 activations" in page.text
    assert "Error by layer" not in page.text


def test_missing_jinja2_names_the_extra(manifest, parity, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"perceiver-edge\[convert\]"):
        render_report(manifest, parity)
