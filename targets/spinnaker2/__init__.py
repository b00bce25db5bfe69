"""SpiNNaker2: one chip, or a board of 48."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nirhw.passes.canonicalize import CANONICALIZE
from nirhw.passes.merge_parallel import MergeParallel
from nirhw.pipeline import Pass, Target

from .bias import AddBiasSources
from .check import check
from .config import SpiNNaker2Configuration
from .fit import FitParameters
from .knobs import knobs
from .legalize import CheckRules
from .lower import lower
from .options import SpiNNaker2Options, SpiNNaker2Record
from .partition import CutPopulations
from .place import PlaceSlices
from .properties import properties
from .quantize import QuantizeWeights
from .resources import resources
from .structure import AlignDelays


def _device(config: SpiNNaker2Configuration, io_map: Mapping[str, Any]) -> Any:
    from .device import SpiNNaker2Device  # numba is imported with it

    return SpiNNaker2Device(config, io_map)


def _passes(options: SpiNNaker2Options) -> Mapping[str, tuple[Pass, ...]]:
    return {
        "canonicalize": CANONICALIZE,
        "legalize": (CheckRules(),),
        "fit": (FitParameters(),),
        "structure": (MergeParallel(), AlignDelays()),
        "quantize": (QuantizeWeights(), AddBiasSources()),
        "partition": (CutPopulations(),),
        "place": (PlaceSlices(),),
    }


TARGET = Target(
    name="spinnaker2",
    variants={"spinnaker2": "spinnaker2", "spinnaker2-48": "spinnaker2-48"},
    options=SpiNNaker2Options,
    new_record=SpiNNaker2Record,
    passes=_passes,
    lower=lower,
    check=check,
    device=_device,
    report=resources,
    config_type=SpiNNaker2Configuration,
    knobs=knobs,
    trims=("drive", "factor"),
    level_options={0: {"scaling": "max"}},
    properties=properties,
)
