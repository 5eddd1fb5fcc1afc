"""Every artefact that convert makes has a processor that it suits, and inspect names it."""

import pytest

from perceiver_edge.bundle.accelerators import suited_to
from perceiver_edge.compiler.artefacts import FORMATS
from perceiver_edge.errors import BadInputError
from perceiver_edge.proof.gates import PRECISIONS


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_kind_has_an_answer(format_, precision):
    assert ("not GPUs" in suited_to(format_, precision)) == (precision in ("int8", "dynamic"))


def test_an_unknown_kind_is_an_error():
    with pytest.raises(BadInputError, match="onnx int4"):
        suited_to("onnx", "int4")
