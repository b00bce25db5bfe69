"""The target's part of the report, counted from the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from nirhw.hardware import Hardware
from nirhw.limits import usage_row

from .config import CnnLayerConfig, SpeckConfiguration
from .memory import MEMORIES, Need
from .options import SpeckRecord


def resources(config: SpeckConfiguration, io_map: Mapping[str, Any], hardware: Hardware, record: SpeckRecord) -> dict[str, Any]:
    """Return resources by core, tensors, placement and how well the plan was proved."""
    plan = record.plan
    assert plan is not None  # the partition stage set it
    cores = len(plan.parts)
    proof = "no plan needs fewer" if plan.status == "optimal" else f"every plan needs at least {plan.bound}"
    return {
        "resources": list(_usage(config, hardware)),
        "tensors": [asdict(t) for t in record.tensors],
        "placement": _placement(record),
        "search": {"cores": cores, "status": plan.status, "bound": plan.bound},
        "notes": [
            f"{cores} of {hardware['cores']} cores; {proof}",
            "emulation is exact per core given the order of its input events; the order inside one event is not documented",
        ],
    }


def _usage(config: SpeckConfiguration, hardware: Hardware) -> Iterator[dict[str, Any]]:
    used = [(number, core) for number, core in enumerate(config.cnn_layers) if core.used]
    yield usage_row(hardware, "cores", len(used), "cores")
    for number, core in used:
        words = _words(core)
        for memory in MEMORIES:
            if words[memory]:
                yield usage_row(hardware, f"{memory}_words_{number}", words[memory], f"core {number} {memory} words")
        links = sum(d.enable for d in core.destinations)
        if links:
            yield usage_row(hardware, "destinations", links, f"core {number} destinations")
    if config.dvs_layer.used:
        links = sum(d.enable for d in config.dvs_layer.destinations)
        yield usage_row(hardware, "dvs_destinations", links, "sensor destinations")


def _words(core: CnnLayerConfig) -> dict[str, int]:
    shape = core.dimensions
    size = shape.output_shape.size
    need = Need(shape.input_shape.feature_count, shape.kernel_size, size.y, size.x, core.leak_enable)
    return need.words(shape.output_shape.feature_count)


def _placement(record: SpeckRecord) -> list[dict[str, Any]]:
    assert record.plan is not None  # the partition stage set it
    rows = []
    for part in record.plan.parts:
        layer = record.layers[part.population]
        region = layer.regions[part.region]
        whole = part.channels == layer.core_channels and len(layer.regions) == 1
        slices = f" rows {region.top}.. columns {region.left}.." if len(layer.regions) > 1 else ""
        copy = f" replica {part.replica}" if part.replica else ""
        rows.append(
            {
                "population": part.population,
                "layer": f"core {part.core}{'' if whole else ' (part)'}{slices}{copy}",
                "neurons": part.channels * region.height * region.width,
                "first": part.first,
                "last": part.first + part.channels - 1,
                "lag": 0,
            }
        )
    return rows
