"""Generated Lava scripts, with groups cut over cores, run on lava's own CPU models as the emulator does, bit for bit.

Needs a Python that has lava: environment variable NIRHW_LAVA_PYTHON, or ``.venv-lava`` in the root.
"""

from __future__ import annotations

import importlib.util
import io
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nirhw.diagnostics import LegalizeError
from nirhw.targets.loihi2.config import (
    CoreSlice,
    Group,
    Kernel,
    Loihi2Configuration,
    Synapses,
    synapses_from_kernel,
    synapses_from_matrix,
)
from nirhw.targets.loihi2.emulator import Loihi2Emulator
from nirhw.targets.loihi2.script import outside_lava, script_files, write_script


def _load_sibling(name: str):
    """Import a module that lies beside this file; pytest's importlib mode leaves the folder out of sys.path."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


random_loihi2 = _load_sibling("random_loihi2")


def cut(config: Loihi2Configuration) -> Loihi2Configuration:
    """Every group on two cores, uneven parts, where it has two neurons."""
    cores = []
    for g in config.groups:
        first = g.size // 3
        parts = [(0, first), (first, g.size - first)] if first else [(0, g.size)]
        cores += [CoreSlice(0, len(cores), g.name, *part) for part in parts if g.model != "input"]
    return replace(config, cores=tuple(cores))


def even(synapses: Synapses) -> Synapses:
    """The same synapses with a kernel of even weights."""
    kernel = synapses.kernel
    return synapses if kernel is None else replace(synapses, kernel=replace(kernel, weight=kernel.weight // 2 * 2))


def cases(count: int):
    """Random networks, cut over cores where lava can run them so and whole where it cannot."""
    found, seed = [], 0
    while len(found) < count:
        case = random_loihi2.random_case(70_000 + seed, steps=40, most=12)
        if seed % 2:  # a kernel that may be unrolled
            case = replace(case, config=replace(case.config, synapses=tuple(map(even, case.config.synapses))))
        halved = cut(case.config)
        config = case.config if outside_lava(halved) else halved
        found.append(replace(case, config=config))
        seed += 1
    return found


@pytest.mark.oracle
def test_scripts_run_what_the_emulator_runs(tmp_path):
    if not random_loihi2.oracle_python().exists():
        message = f"no oracle: {random_loihi2.oracle_python()} is missing (make .venv-lava, or set NIRHW_LAVA_PYTHON)"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    drawn, jobs = cases(5), []
    whole, halved = (
        [c.config for c in drawn if (len(c.config.cores) > len(c.config.groups) - 1) is wanted] for wanted in (False, True)
    )
    for configs in (whole, halved):
        assert any(s.kernel is not None for config in configs for s in config.synapses)
    for case in drawn:
        spikes = io.BytesIO()
        np.savez(spikes, **case.counts)
        contents = {f"files/{name}": content for name, content in script_files(case.config).items()}
        contents["spikes"] = spikes.getvalue()
        jobs.append({name: np.frombuffer(content, np.uint8) for name, content in contents.items()})
    results = random_loihi2.run_worker("script", jobs, tmp_path, timeout=200)
    for k, case in enumerate(drawn):
        names = [g.name for g in case.config.groups if g.model != "input"]
        trace = Loihi2Emulator(case.config).prepare({name: rows[None] for name, rows in case.counts.items()}, states=names).run()
        with np.load(io.BytesIO(results[f"{k}/results"].tobytes())) as got:
            assert set(got) == {f"{name}.{part}" for name in names for part in ("spikes", "v")}
            for name in names:
                np.testing.assert_array_equal(got[f"{name}.spikes"], trace.sent[name][0], err_msg=f"{k} {name}")
                np.testing.assert_array_equal(got[f"{name}.v"], trace.v[name][0], err_msg=f"{k} {name}")


def network(model: str = "lif", **options) -> Loihi2Configuration:
    groups = (
        Group("in", "in", np.arange(3), "input"),
        Group("a", "a", np.arange(4), "lif", threshold=9),
        Group("b", "b", np.arange(2), model, threshold=9),  # type: ignore[arg-type]
    )
    synapses = (
        synapses_from_matrix("in-a", "in", "a", np.full((4, 3), 6), kind="dense"),
        synapses_from_matrix("a-b", "a", "b", np.full((2, 4), 6), kind="dense", **options),
    )
    return cut(Loihi2Configuration(groups, synapses, ()))


def test_what_lava_cannot_run_is_refused_with_the_reason(tmp_path):
    assert outside_lava(network()) == ()
    assert outside_lava(network(exponent=-1)) == ()  # all weights are even, so the parts of a sum round as the whole does
    kernel = Kernel(np.full((1, 1, 3, 3), 254), (1, 4, 4), (1, 2, 2))
    groups = (Group("in", "in", np.arange(16), "input"), Group("a", "a", np.arange(4), "lif", threshold=9))
    refused = {
        "negative exponent": network(exponent=-2),
        "model graded": network("graded"),
        "nothing is placed": replace(network(), cores=()),
        "more than synapses keep": cut(
            Loihi2Configuration(groups, (synapses_from_kernel("c", "in", "a", replace(kernel, weight=kernel.weight - 1)),), ())
        ),
        "may wrap": cut(Loihi2Configuration(groups, (synapses_from_kernel("c", "in", "a", kernel, message_bits=24),), ())),
    }
    for reason, config in refused.items():
        assert any(reason in why for why in outside_lava(config))
        with pytest.raises(LegalizeError, match="NIRHW-E030"):
            write_script(config, tmp_path)
    assert not list(tmp_path.iterdir())


def test_equal_configurations_give_equal_files_and_names_stay_data(tmp_path):
    hostile = "x'); import os; os.remove('y"
    config = network()
    renamed = replace(config.groups[0], name=hostile)
    config = replace(
        config, groups=(renamed, *config.groups[1:]), synapses=(replace(config.synapses[0], source=hostile), config.synapses[1])
    )
    write_script(config, tmp_path)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == script_files(config)
    assert written["run_lava.py"] == script_files(network())["run_lava.py"] and b"os.remove" not in written["run_lava.py"]
