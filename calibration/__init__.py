"""Representative samples, observed ranges, int8 parameters. Needs NumPy, and Pillow for pictures."""

from perceiver_edge.calibration.core_range import CoreRange
from perceiver_edge.calibration.hull import give_room
from perceiver_edge.calibration.memory import ArraySource, as_source
from perceiver_edge.calibration.observe import DEFAULT_METHOD, METHODS, observe
from perceiver_edge.calibration.observers import MinMaxObserver, MseObserver, Observer, PercentileObserver
from perceiver_edge.calibration.partition import Part, split
from perceiver_edge.calibration.quant_params import QuantParams, Range, quant_params
from perceiver_edge.calibration.ranges import Ranges
from perceiver_edge.calibration.repeated import first_use, one_range_for_all_uses
from perceiver_edge.calibration.row_range import RowLayer, RowRange
from perceiver_edge.calibration.samples import Sample, Samples, SampleSource
from perceiver_edge.calibration.sources import open_source

__all__ = [
    "DEFAULT_METHOD",
    "METHODS",
    "ArraySource",
    "CoreRange",
    "MinMaxObserver",
    "MseObserver",
    "Observer",
    "Part",
    "PercentileObserver",
    "QuantParams",
    "Range",
    "Ranges",
    "RowLayer",
    "RowRange",
    "Sample",
    "SampleSource",
    "Samples",
    "as_source",
    "first_use",
    "give_room",
    "observe",
    "one_range_for_all_uses",
    "open_source",
    "quant_params",
    "split",
]
