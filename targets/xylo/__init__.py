"""SynSense Xylo: Audio 2 (SYNS61201), Audio 3 (SYNS65302) and IMU (SYNS63300)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nirhw.passes.canonicalize import CANONICALIZE
from nirhw.passes.merge_parallel import MergeParallel
from nirhw.pipeline import Pass, Target

from .bias import AddBiasNeurons
from .check import check
from .config import XyloConfiguration
from .drivers import AddDrivers
from .fit import FitTimeConstants
from .held import ChooseHeld
from .hold import AddHolds
from .knobs import knobs
from .legalize import AssignLayers, CheckRules
from .lower import lower
from .options import XyloOptions, XyloRecord
from .place import PlaceNeurons
from .properties import properties
from .quantize import QuantizeWeights
from .resources import resources
from .stretch import StretchTime
from .structure import AlignDelays


def _device(config: XyloConfiguration, io_map: Mapping[str, Any]) -> Any:
    from .device import XyloDevice  # numba is imported with it

    return XyloDevice(config, io_map)


def _passes(options: XyloOptions) -> Mapping[str, tuple[Pass, ...]]:
    return {
        "canonicalize": CANONICALIZE,
        "legalize": (AssignLayers(), CheckRules()),
        "fit": (StretchTime(), FitTimeConstants()),
        "structure": (MergeParallel(), AlignDelays(), ChooseHeld()),
        "quantize": (QuantizeWeights(), AddHolds(), AddBiasNeurons(), AddDrivers()),
        "place": (PlaceNeurons(),),
    }


TARGET = Target(
    name="xylo",
    variants={
        "xylo": "xylo-audio2",
        "xylo-audio2": "xylo-audio2",
        "xylo-audio3": "xylo-audio3",
        "xylo-imu": "xylo-imu",
    },
    options=XyloOptions,
    new_record=XyloRecord,
    passes=_passes,
    lower=lower,
    check=check,
    device=_device,
    report=resources,
    config_type=XyloConfiguration,
    knobs=knobs,
    trims=("drive",),
    properties=properties,
    level_options={0: {"scaling": "max"}},
)
