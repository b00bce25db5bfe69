"""A strict fake of py-spinnaker2's ``snn`` and ``hardware``: what public code shows of them, and nothing else.

Every name, type, shape and range is checked; unknown names are refused, also where the original is thought to ignore them.  A run
goes through the slow model.
"""

from __future__ import annotations

import math
import sys
import types

import numpy as np

from tests.targets.spinnaker2 import slow_model

MEMBRANE = {"threshold", "alpha_decay", "i_offset", "v_init", "v_reset", "reset"}
PARAMS = {
    "lif": MEMBRANE,
    "lif_no_delay": MEMBRANE,
    "lif_conv2d": MEMBRANE,
    "lif_curr_exp": MEMBRANE | {"exc_decay", "inh_decay", "t_refrac"},
    "lif_curr_exp_no_delay": MEMBRANE | {"exc_decay", "inh_decay", "t_refrac"},
}
WORD = {"lif": (15, 7), "lif_curr_exp": (15, 7), "lif_no_delay": (127, 0), "lif_curr_exp_no_delay": (127, 0)}
RESETS = ("reset_by_subtraction", "reset_to_v_reset")
CONV_PARAMS = {
    *("in_height", "in_width", "stride_x", "stride_y", "pool_x", "pool_y"),
    *("pad_top", "pad_bottom", "pad_left", "pad_right"),
}


class MisuseError(Exception):
    """The caller does what py-spinnaker2 does not document."""


def demand(holds: bool, what: str) -> None:
    """Refuse where a rule does not hold."""
    if not holds:
        raise MisuseError(what)


def whole(value, low: int, high: float, what: str) -> int:
    """Return a plain Python integer within its range."""
    demand(type(value) is int and low <= value <= high, f"{what} is {value!r}, expected an int from {low} to {high}")
    return value


class Population:
    """Neurons of one model."""

    def __init__(self, size, neuron_model, params, name, record):
        self.size = whole(size, 1, 1 << 16, "size")
        demand(neuron_model == "spike_list" or neuron_model in PARAMS, f"unknown neuron model {neuron_model!r}")
        demand(isinstance(name, str) and name.isidentifier(), f"name {name!r}")
        demand(isinstance(record, list) and set(record) <= {"spikes", "v", "v_last"}, f"record {record!r}")
        demand(not {"v", "v_last"} <= set(record), "record takes v or v_last")
        demand(isinstance(params, dict), "params is no dict")
        self.neuron_model, self.params, self.name, self.record = neuron_model, params, name, record
        self.max_atoms, self._spikes, self._voltages = None, None, None
        if neuron_model == "spike_list":
            demand(set(record) <= {"spikes"}, "a spike_list has no voltage")
            self._check_times()
        else:
            demand(set(params) == PARAMS[neuron_model], f"params of {neuron_model}: {sorted(map(str, params))}")
            self._check_parameters()

    def _check_times(self):
        for neuron, times in self.params.items():
            whole(neuron, 0, self.size - 1, "spike source")
            demand(isinstance(times, list), "spike times are no list")
            demand(sorted(set(times)) == times, "spike times are not strictly increasing")
            for time in times:
                whole(time, 0, math.inf, "spike time")

    def _check_parameters(self):
        for name, value in self.params.items():
            if name == "reset":
                demand(value in RESETS, f"reset {value!r}")
                continue
            values = value if isinstance(value, list) else [value] * self.size
            demand(len(values) == self.size, f"{name} has {len(values)} values for {self.size} neurons")
            kind = int if name == "t_refrac" else float
            demand(all(type(x) is kind and math.isfinite(x) for x in values), f"{name} holds no finite {kind.__name__}")
            demand(not name.endswith("decay") or all(0 <= x <= 1 for x in values), f"{name} is outside 0 to 1")

    def set_max_atoms_per_core(self, n):
        self.max_atoms = whole(n, 1, math.inf, "atoms per core")

    def get_spikes(self):
        demand(self._spikes is not None and "spikes" in self.record, "no spikes were recorded")
        return self._spikes

    def get_voltages(self):
        demand(self._voltages is not None and bool({"v", "v_last"} & set(self.record)), "no voltages were recorded")
        return self._voltages


class Projection:
    """Synapses as a list of [pre, post, weight, delay]."""

    def __init__(self, pre, post, connections):
        demand(isinstance(pre, Population) and isinstance(post, Population), "a projection joins populations")
        demand(post.neuron_model in WORD, f"{post.neuron_model} takes no synapses")
        demand(isinstance(connections, list) and len(connections) > 0, "a projection needs connections")
        weight, delay = WORD[post.neuron_model]
        for connection in connections:
            demand(isinstance(connection, list) and len(connection) == 4, f"connection {connection!r}")
            whole(connection[0], 0, pre.size - 1, "pre")
            whole(connection[1], 0, post.size - 1, "post")
            whole(connection[2], -weight, weight, "weight")
            whole(connection[3], 0, delay, "delay")
        self.pre, self.post, self.connections = pre, post, connections


class Conv2DProjection:
    """An int8 kernel [in channel, out channel, row, column]."""

    def __init__(self, pre, post, weights, params):
        demand(isinstance(pre, Population) and isinstance(post, Population), "a projection joins populations")
        demand(post.neuron_model == "lif_conv2d", f"{post.neuron_model} takes no kernels")
        demand(
            isinstance(weights, np.ndarray) and weights.dtype == np.int8 and weights.ndim == 4, "weights are no 4-D int8 array"
        )
        demand(isinstance(params, dict) and set(params) == CONV_PARAMS, f"params {sorted(params)}")
        for name, value in params.items():
            whole(value, 0 if name.startswith("pad") else 1, 1 << 16, name)
        demand(pre.size == weights.shape[0] * params["in_height"] * params["in_width"], "the kernel does not fit its source")
        self.pre, self.post, self.weights, self.params = pre, post, weights, params


class Network:
    """Populations and projections."""

    def __init__(self, name):
        demand(isinstance(name, str), "name is no string")
        self.name, self.populations, self.projections = name, [], []

    def add(self, *things):
        for thing in things:
            demand(isinstance(thing, Population | Projection | Conv2DProjection), f"cannot add {thing!r}")
            (self.populations if isinstance(thing, Population) else self.projections).append(thing)


class _Hardware:
    """A board that serves one run."""

    runs: list[Network] = []  # noqa: RUF012 - all runs of the process, for tests

    def __init__(self, address, chips):
        demand(isinstance(address, str) and address != "", "the address is no string")
        self.address, self.chips, self._used = address, chips, False

    def run(self, net, timesteps, sys_tick_in_s=1e-3, mapping_only=False):
        demand(not self._used, "a hardware object serves one run")
        self._used = True
        whole(timesteps, 1, math.inf, "timesteps")
        demand(isinstance(sys_tick_in_s, float) and sys_tick_in_s > 0, "tick")
        demand(len({p.name for p in net.populations}) == len(net.populations), "two populations share a name")
        for population in net.populations:
            demand(population.max_atoms == population.size, f"{population.name} would be split, or its limit was not set")
        for projection in net.projections:
            demand(projection.pre in net.populations and projection.post in net.populations, "a population was not added")
        demand(len(net.populations) <= 148 * self.chips, "more PEs than the machine has")
        _Hardware.runs.append(net)
        if not mapping_only:
            simulate(net, timesteps)


class SpiNNaker2Chip(_Hardware):
    """One chip, by its Ethernet address."""

    def __init__(self, *, eth_ip):
        super().__init__(eth_ip, 1)


class SpiNNcloud48NodeBoard(_Hardware):
    """A board of 48 chips, by the address of its controller."""

    def __init__(self, *, stm_ip, eth_ip=None):
        demand(eth_ip is None or isinstance(eth_ip, str), "eth_ip is no string")
        super().__init__(stm_ip, 48)


def simulate(net: Network, timesteps: int) -> None:
    """Run the network on the slow model and leave what was recorded in the populations."""
    elements = {}
    for number, p in enumerate(net.populations):
        key = number << 16
        if p.neuron_model == "spike_list":
            elements[p.name] = slow_model.Element("spike_list", p.size, key, times=p.params)
            continue
        columns = {k: v if isinstance(v, list) else [v] * p.size for k, v in p.params.items() if k != "reset"}
        subtract = p.params["reset"] == "reset_by_subtraction"
        elements[p.name] = slow_model.Element(p.neuron_model, p.size, key, columns, subtract)
    for projection in net.projections:
        source, target = elements[projection.pre.name], elements[projection.post.name]
        if isinstance(projection, Conv2DProjection):
            target.add_convolution(source.key, 0xFFFF0000, projection.weights, projection.params)
            continue
        rows: dict[int, list[int]] = {}
        for pre, post, weight, delay in projection.connections:
            rows.setdefault(pre, []).append(slow_model.pack(target.application, post, weight, delay))
        target.add_rows(source.key, 0xFFFF0000, rows)
    slow_model.run(list(elements.values()), timesteps)
    for p in net.populations:
        history = elements[p.name].history
        p._spikes = {n: [t for t, row in enumerate(history["spikes"]) if row[n]] for n in range(p.size)}
        v = np.array(history["v"], np.float32).reshape(-1, p.size) if "v" in p.record else np.array(history["v"][-1:], np.float32)
        p._voltages = {n: v[:, n] if "v" in p.record else v[-1, n] for n in range(p.size)} if len(v) else None


def install() -> None:
    """Make ``from spinnaker2 import snn, hardware`` find this fake."""
    package, snn, hardware = (types.ModuleType(n) for n in ("spinnaker2", "spinnaker2.snn", "spinnaker2.hardware"))
    for name in ("Population", "Projection", "Conv2DProjection", "Network"):
        setattr(snn, name, globals()[name])
    for name in ("SpiNNaker2Chip", "SpiNNcloud48NodeBoard"):
        setattr(hardware, name, globals()[name])
    package.snn, package.hardware = snn, hardware
    sys.modules.update({module.__name__: module for module in (package, snn, hardware)})
