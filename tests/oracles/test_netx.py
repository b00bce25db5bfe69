"""``.net`` files read by lava-dl 0.6.0's own reader run as the emulator does, spike for spike and in v.

Needs a Python that has lava and lava-dl: environment variable NIRHW_LAVA_PYTHON, or ``.venv-lava`` in the root.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nirhw.diagnostics import LegalizeError
from nirhw.targets.loihi2.config import Group, Kernel, Loihi2Configuration, synapses_from_kernel, synapses_from_matrix
from nirhw.targets.loihi2.emulator import Loihi2Emulator
from nirhw.targets.loihi2.netx import netx_bytes, outside_netx, write_netx


def _load_sibling(name: str):
    """Import a module that lies beside this file; pytest's importlib mode leaves the folder out of sys.path."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


random_loihi2 = _load_sibling("random_loihi2")
RNG = np.random.default_rng(3)


def lif(name: str, size: int, **registers) -> Group:
    return Group(name, name, np.arange(size), "lif", **{"du": 900, "dv": 200, "threshold": 200, **registers})


def even(post: int, pre: int, top: int = 126):
    return RNG.integers(-top // 2, top // 2 + 1, (post, pre)) * 2


def chain(*synapses, groups) -> Loihi2Configuration:
    return Loihi2Configuration((Group("in", "in", np.arange(groups[0]), "input"), *groups[1:]), synapses, ())


def dense(source: str, target: str, weight, **options):
    return synapses_from_matrix(f"{source}-{target}", source, target, weight, kind="dense", **options)


def with_bias(name: str, size: int, **registers) -> Group:
    return lif(name, size, bias_mantissa=RNG.integers(-100, 100, size), bias_exponent=7, **registers)


def convolutional() -> Loihi2Configuration:
    first = Kernel(even(4, 2 * 9).reshape(4, 2, 3, 3), (2, 7, 6), (4, 4, 3), (2, 2), (1, 1))
    second = Kernel(even(4, 2 * 6).reshape(4, 2, 3, 2), (4, 4, 3), (4, 2, 2), (1, 1), (0, 0), (1, 1), 2)
    return chain(
        synapses_from_kernel("c1", "in", "a", first),
        synapses_from_kernel("c2", "a", "b", second),
        dense("b", "c", even(5, 16)),
        groups=(84, with_bias("a", 48, threshold=150), lif("b", 16, threshold=100), lif("c", 5, threshold=80)),
    )


CASES = {
    "dense": lambda: chain(dense("in", "a", even(9, 12)), dense("a", "b", even(4, 9)), groups=(12, lif("a", 9), lif("b", 4))),
    "recurrent": lambda: chain(dense("in", "a", even(9, 12)), dense("a", "a", even(9, 9, 60)), groups=(12, lif("a", 9))),
    "biases": lambda: chain(dense("in", "a", even(9, 12)), groups=(12, with_bias("a", 9))),
    "delays": lambda: chain(dense("in", "a", even(9, 12), delay=RNG.integers(0, 60, (9, 12))), groups=(12, lif("a", 9))),
    "one delay": lambda: chain(dense("in", "a", even(9, 12), delay=3), groups=(12, lif("a", 9))),
    "full range": lambda: chain(dense("in", "a", even(9, 12, 254)), groups=(12, lif("a", 9, du=-1, dv=4096))),
    "excitatory": lambda: chain(
        dense("in", "a", RNG.integers(0, 120, (9, 12)), sign_mode="excitatory"), groups=(12, lif("a", 9, threshold=900))
    ),
    "inhibitory": lambda: chain(
        dense("in", "a", RNG.integers(-120, 0, (9, 12)), sign_mode="inhibitory"), groups=(12, with_bias("a", 9, threshold=20))
    ),
    "exponents": lambda: chain(
        dense("in", "a", even(9, 12, 30), exponent=2), dense("a", "b", even(4, 9) // 8 * 8, exponent=-2), groups=(12, lif("a", 9), with_bias("b", 4, threshold=40))
    ),
    "one matrix of two": lambda: chain(
        dense("in", "a", RNG.integers(0, 60, (9, 12)), sign_mode="excitatory"),
        dense("in", "a", RNG.integers(-60, 0, (9, 12)), sign_mode="inhibitory"),
        dense("a", "a", RNG.integers(-40, 0, (9, 9)), sign_mode="inhibitory"),
        groups=(12, lif("a", 9)),
    ),
    "convolutions": convolutional,
}  # fmt: skip


@pytest.mark.oracle
def test_the_reader_of_lava_dl_runs_what_the_emulator_runs(tmp_path):
    if not random_loihi2.oracle_python().exists():
        message = f"no oracle: {random_loihi2.oracle_python()} is missing (make .venv-lava, or set NIRHW_LAVA_PYTHON)"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    configs = {name: make() for name, make in CASES.items()}
    jobs, counts = [], {}
    for name, config in configs.items():
        assert outside_netx(config) == (), name
        size = config.groups[0].size
        counts[name] = (RNG.random((80, size)) < 0.3).astype(np.int64)
        kernel = config.synapses[0].kernel
        shaped = counts[name].reshape(80, *kernel.in_shape) if kernel else counts[name]
        jobs.append({"file": np.frombuffer(netx_bytes(config), np.uint8), "counts": shaped})
    results = random_loihi2.run_worker("netx", jobs, tmp_path, timeout=200)
    for k, (name, config) in enumerate(configs.items()):
        layers = [g.name for g in config.groups[1:]]
        trace = Loihi2Emulator(config).prepare({"in": counts[name][None]}, states=layers).run()
        for number, layer in enumerate(layers):
            np.testing.assert_array_equal(results[f"{k}/{number}/sent"], trace.sent[layer][0], err_msg=f"{name} {layer}")
            np.testing.assert_array_equal(results[f"{k}/{number}/v"], trace.v[layer][0], err_msg=f"{name} {layer}")
            assert trace.sent[layer].any(), f"{name} {layer} never fires"


def base(**changes) -> Loihi2Configuration:
    config = chain(dense("in", "a", even(9, 12)), dense("a", "b", even(4, 9)), groups=(12, lif("a", 9), lif("b", 4)))
    return replace(config, **changes)


def with_first(**changes) -> Loihi2Configuration:
    config = base()
    return replace(config, synapses=(replace(config.synapses[0], **changes), config.synapses[1]))


def with_group(**changes) -> Loihi2Configuration:
    config = base()
    return replace(config, groups=(config.groups[0], replace(config.groups[1], **changes), config.groups[2]))


def plus(*synapses, config=None) -> Loihi2Configuration:
    config = config or base()
    return replace(config, synapses=(*config.synapses, *synapses))


OUTSIDE = {
    "payloads": lambda: with_first(message_bits=8),
    "a negative exponent": lambda: with_first(exponent=-3),
    "weight bits": lambda: with_first(exponent=4),
    "resets at an interval": lambda: with_group(model="lif_reset", reset_interval=5),
    "model lif_subtract": lambda: with_group(model="lif_subtract"),
    "multiples of 64": lambda: with_group(bias_mantissa=np.full(9, 3)),
    "leave 13 bits": lambda: with_group(bias_mantissa=np.full(9, 4095), bias_exponent=7),
    "part of a population": lambda: with_group(neurons=np.arange(9) + 3),
    "in: its spikes reach several groups": lambda: plus(dense("in", "b", even(4, 12))),
    "a: spikes of several groups": lambda: plus(dense("b", "a", even(9, 4))),
    "several connections": lambda: plus(dense("in", "a", even(9, 12), delay=2)),
    "other synapses": lambda: plus(dense("a", "a", even(48, 48)), config=convolutional()),
    "not part of the chain": lambda: replace(base(), synapses=base().synapses[:1]),
    "no neurons": lambda: Loihi2Configuration((Group("in", "in", np.arange(2), "input"),), (), ()),
    "2 inputs": lambda: replace(base(), groups=(*base().groups, Group("in2", "in2", np.arange(2), "input"))),
    "all zero": lambda: replace(base(), synapses=(dense("in", "a", np.zeros((9, 12), int)), base().synapses[1])),
    "drops the exponent": lambda: chain(
        dense("in", "a", even(9, 12), delay=1), dense("a", "a", even(9, 9)), groups=(12, lif("a", 9))
    ),
    "no convolution of that shape": lambda: chain(
        dense("in", "a", even(9, 12)),
        synapses_from_kernel("c", "a", "b", Kernel(even(1, 4).reshape(1, 1, 2, 2), (1, 3, 3), (1, 2, 2))),
        groups=(12, lif("a", 9), lif("b", 4)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_the_format_cannot_say_is_refused_with_the_reason(name, tmp_path):
    config = OUTSIDE[name]()
    reasons = outside_netx(config)
    wanted = "choice of weight bits" if name in ("weight bits", "all zero") else name
    assert any(wanted in reason for reason in reasons), reasons
    with pytest.raises(LegalizeError, match="NIRHW-E030"):
        write_netx(config, tmp_path / "x.net")
    assert not (tmp_path / "x.net").exists()


def test_equal_configurations_give_equal_bytes(tmp_path):
    config = convolutional()
    write_netx(config, tmp_path / "x.net")
    assert (tmp_path / "x.net").read_bytes() == netx_bytes(config)
