"""SynSense Speck 2f and 2e: nine asynchronous cores of convolution, integrate-and-fire neurons and sum pooling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nirhw.passes.canonicalize import CANONICALIZE
from nirhw.pipeline import Pass, Target

from .check import check
from .config import SpeckConfiguration
from .knobs import knobs
from .layout import LayOut
from .legalize import CheckRules
from .lower import lower
from .options import SpeckOptions, SpeckRecord
from .partition import PlanCores
from .properties import properties
from .quantize import QuantizeKernels
from .resources import resources


def _device(config: SpeckConfiguration, io_map: Mapping[str, Any]) -> Any:
    from .device import SpeckDevice  # numba is imported with it

    return SpeckDevice(config, io_map)


def _passes(options: SpeckOptions) -> Mapping[str, tuple[Pass, ...]]:
    return {
        "canonicalize": CANONICALIZE,
        "legalize": (CheckRules(), LayOut()),
        "quantize": (QuantizeKernels(),),
        "partition": (PlanCores(),),
    }


TARGET = Target(
    name="speck",
    variants={"speck": "speck2f", "speck2f": "speck2f", "speck2e": "speck2e"},
    options=SpeckOptions,
    new_record=SpeckRecord,
    passes=_passes,
    lower=lower,
    check=check,
    device=_device,
    report=resources,
    config_type=SpeckConfiguration,
    knobs=knobs,
    placement=("plan",),
    properties=properties,
    level_options={0: {"scaling": "max"}},
)
