"""The calibration file: exact round trip, readable, strictly parsed, bound to its model."""

import dataclasses
import json

import numpy as np
import pytest

from perceiver_edge.calibration import CoreRange, Range, Ranges, RowLayer, RowRange
from perceiver_edge.errors import BadInputError

RANGES = Ranges(
    points={'blocks.0/ü "q"': Range(-0.1, 1 / 3), "logits": Range(float(np.float32(-1e-7)), 12.0)},
    cores={
        "layers.0.cross_attn": CoreRange(
            elu_error=0.0046,
            sigmoid_error=0.0051,
            query=Range(-0.3, 0.4),
            context=Range(-2.0, 3.0),
            mean=Range(-0.1, 0.1),
            keys=Range(-2.0, 3.0),
            values=Range(-2.0, 3.0),
            mean_value=Range(-0.1, 0.1),
            weighted=Range(-9.0, 8.0),
            total=Range(-99.0, -20.0),
            bound=(1.5, 1 / 3),
        )
    },
    method="percentile",
    num_samples=128,
    source="photos, calibration split",
    is_random=False,
    digests=frozenset([bytes(range(16)), b"\xff" * 16]),
    fingerprint="ab12",
    row_layers={
        "layers.0.self_attn.0": RowLayer(
            means=(0.125, -1e-5),
            queries=Range(-3.0, 3.0),
            keys=Range(-2.0, 3.5),
            values=Range(-2.0, 2.5),
            attended=Range(-1.0, 1 / 3),
        )
    },
    rows={
        "layers.0.self_attn.0": RowRange(error=0.021, shift=(), scores=Range(-4.0, 12.0), weighted=Range(-6.0, 6.0)),
        "layers.1.self_attn.0": RowRange(
            error=0.003, shift=(1 / 3,), scores=Range(-5.0, 2.0), weighted=Range(-1 / 3, 6.0)
        ),
    },
)

LAYER = json.loads(RANGES.to_json())["row_layers"]["layers.0.self_attn.0"]
ROW = json.loads(RANGES.to_json())["rows"]["layers.0.self_attn.0"]
CORE = json.loads(RANGES.to_json())["cores"]["layers.0.cross_attn"]


def edited(**changes: object) -> str:
    return json.dumps(json.loads(RANGES.to_json()) | changes)


def test_round_trip_is_exact() -> None:
    rng = np.random.default_rng(0)
    ends = np.sort(rng.standard_normal((200, 2)).astype(np.float32) * 10.0 ** rng.integers(-30, 8, (200, 1)))
    points = {f"p{index}": Range(*pair) for index, pair in enumerate(ends.tolist())}
    ranges = dataclasses.replace(RANGES, points=points)
    assert Ranges.from_json(ranges.to_json()) == ranges
    assert Ranges.from_json(RANGES.to_json()) == RANGES


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_numbers_of_numpy_are_written_as_numbers(kind: type) -> None:
    (core,) = RANGES.cores.values()
    core = dataclasses.replace(core, elu_error=kind(0.5), query=Range(kind(-1), kind(1)), bound=(kind(2),))
    ranges = dataclasses.replace(
        RANGES, points={"logits": Range(kind(0), kind(0.5))}, cores={"core": core}, num_samples=np.int64(3)
    )
    assert Ranges.from_json(ranges.to_json()) == ranges


def test_one_point_a_line() -> None:
    assert '    "logits": [' in RANGES.to_json()
    assert (
        len(RANGES.to_json().splitlines())
        == 8 + len(RANGES.points) + 2 + len(RANGES.cores) + 2 + len(RANGES.row_layers) + 2 + len(RANGES.rows) + 3
    )


def test_hand_written_whole_numbers_are_read() -> None:
    assert Ranges.from_json(edited(points={"logits": [0, 6]})).points == {"logits": Range(0.0, 6.0)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable"),
        ("[]", "keys"),
        (edited(surprise=1), "surprise"),
        (RANGES.to_json().replace('"method": "percentile",', ""), "keys"),
        (RANGES.to_json().replace('"method"', '"source": "again", "method"'), "written twice"),
        (edited(num_samples="128"), "num_samples"),
        (edited(num_samples=True), "num_samples"),
        (edited(format="perceiver_edge calibration 9"), "version"),
        (edited(format=4), "version"),
        (edited(points={"logits": [2, 1]}), "logits"),
        (edited(points={"logits": [1]}), "logits"),
        (edited(points={"logits": [0, float("nan")]}), "logits"),
        (edited(points={"logits": [0, 10**400]}), "logits"),
        (edited(points={"logits": [False, 1]}), "logits"),
        (edited(points={"logits": "01"}), "logits"),
        (edited(cores={"layers.0.cross_attn": CORE | {"bound": []}}), "layers.0.cross_attn"),
        (edited(cores={"layers.0.cross_attn": CORE | {"keys": [1]}}), "layers.0.cross_attn"),
        (edited(rows={"layers.0.self_attn.0": ROW | {"scores": [1]}}), "layers.0.self_attn.0"),
        (edited(rows={"layers.0.self_attn.0": ROW | {"surprise": 1}}), "layers.0.self_attn.0"),
        (edited(row_layers={"layers.0.self_attn.0": LAYER | {"means": [float("nan")]}}), "layers.0.self_attn.0"),
        (edited(rows={"layers.0.self_attn.0": ROW | {"shift": [float("inf")]}}), "layers.0.self_attn.0"),
        (edited(row_layers={"layers.0.self_attn.0": LAYER | {"keys": 1}}), "layers.0.self_attn.0"),
        (edited(row_layers={"layers.0.self_attn.0": {}}), "layers.0.self_attn.0"),
        (edited(row_layers={"layers.0.self_attn.0": [1]}), "layers.0.self_attn.0"),
        (edited(rows={"layers.0.self_attn.0": ROW | {"error": "small"}}), "layers.0.self_attn.0"),
        (edited(cores={"layers.0.cross_attn": CORE | {"surprise": 1}}), "layers.0.cross_attn"),
        (edited(cores={"layers.0.cross_attn": CORE | {"elu_error": "small"}}), "layers.0.cross_attn"),
        (edited(cores={"layers.0.cross_attn": CORE | {"sigmoid_error": float("nan")}}), "layers.0.cross_attn"),
        (edited(cores={"layers.0.cross_attn": 1}), "layers.0.cross_attn"),
        (json.dumps({k: v for k, v in json.loads(RANGES.to_json()).items() if k != "digests"}), "keys"),
        (edited(digests="00"), "digests"),
        (edited(digests=["00" * 15]), "32 hexadecimal digits"),
        (edited(digests=["zz" * 16]), "32 hexadecimal digits"),
        (edited(digests=[None]), "32 hexadecimal digits"),
    ],
)
def test_a_damaged_file_is_one_clear_error(text: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message) as caught:
        Ranges.from_json(text, where="calibration.json")
    assert "calibration.json" in str(caught.value)


def test_a_file_of_an_older_format_is_told_to_be_one() -> None:
    older = json.loads(RANGES.to_json()) | {"format": "perceiver_edge calibration 4"}
    del older["row_layers"]  # which format 4 did not have
    with pytest.raises(BadInputError, match="another version") as caught:
        Ranges.from_json(json.dumps(older))
    assert "'perceiver_edge calibration 4'" in str(caught.value)
    assert "calibrate again" in str(caught.value)


def test_ranges_are_bound_to_their_model() -> None:
    RANGES.require_model("ab12")
    with pytest.raises(BadInputError, match="another model"):
        RANGES.require_model("cd34")


def test_cores_are_of_this_model() -> None:
    RANGES.require_cores({"layers.0.cross_attn": 2, "layers.1.cross_attn": 2})
    with pytest.raises(BadInputError, match="3 bounds"):
        RANGES.require_cores({"layers.0.cross_attn": 3})
    with pytest.raises(BadInputError, match="there is a mask"):
        RANGES.require_cores({})


def test_ranges_are_of_just_the_models_points() -> None:
    names = list(RANGES.points)
    RANGES.require_points(names)
    with pytest.raises(BadInputError, match="no extra"):
        RANGES.require_points([*names, "extra"])
    with pytest.raises(BadInputError, match="also logits"):
        RANGES.require_points(names[:1])


@pytest.mark.parametrize("edited", ["[-3e38, 3e38]", "[-1e10, 0.0]", "[0.0, 2e9]", "[NaN, 1.0]", "[0.0, Infinity]"])
def test_a_range_that_no_engine_can_scale_is_refused_by_name(edited):
    before = RANGES.to_json().split('"logits": ')[1].split("]")[0] + "]"
    with pytest.raises(BadInputError, match="logits"):
        Ranges.from_json(RANGES.to_json().replace(before, edited, 1))
