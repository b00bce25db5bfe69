"""Intel Loihi 2: one chip, Kapoho Point, Hala Point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nirhw.passes.canonicalize import CANONICALIZE
from nirhw.passes.merge_parallel import MergeParallel
from nirhw.pipeline import Pass, Target

from .check import check
from .config import Loihi2Configuration
from .connect import MakeGroups
from .fit import FitTimeConstants
from .knobs import knobs
from .legalize import CheckRules, MergePorts, ShiftResets
from .lower import lower
from .options import Loihi2Options, Loihi2Record
from .partition import CutGroups
from .place import PlaceCores
from .properties import properties
from .quantize import QuantizeWeights
from .resources import resources
from .structure import AddBiasSources, AddCarries, AlignDelays, SplitSigns


def _device(config: Loihi2Configuration, io_map: Mapping[str, Any]) -> Any:
    from .device import Loihi2Device  # numba is imported with it

    return Loihi2Device(config, io_map)


def _passes(options: Loihi2Options) -> Mapping[str, tuple[Pass, ...]]:
    return {
        "canonicalize": CANONICALIZE,
        "legalize": (MergePorts(), ShiftResets(), CheckRules()),
        "fit": (FitTimeConstants(),),
        "structure": (MergeParallel(), AddBiasSources(), AddCarries(), AlignDelays(), SplitSigns()),
        "quantize": (QuantizeWeights(),),
        "partition": (MakeGroups(), CutGroups()),
        "place": (PlaceCores(),),
    }


TARGET = Target(
    name="loihi2",
    variants={
        "loihi2": "loihi2",
        "loihi2-kapoho-point": "loihi2-kapoho-point",
        "loihi2-hala-point": "loihi2-hala-point",
    },
    options=Loihi2Options,
    new_record=Loihi2Record,
    passes=_passes,
    lower=lower,
    check=check,
    device=_device,
    report=resources,
    config_type=Loihi2Configuration,
    knobs=knobs,
    trims=("drive", "factor"),
    level_options={0: {"scaling": "max", "ranges": 1}},
    properties=properties,
)
