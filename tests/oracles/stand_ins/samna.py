"""Stands in for samna, which public indexes hold only as a downloader: what rockpool 3.1.0 and sinabs 3.1.3 need to map a network.

Put the folder of this file first on ``sys.path`` of a process of its own, before rockpool or sinabs is imported.  Real are the
configuration of Xylo Audio 2 (``samna.xyloCore2``: fields typed as rockpool writes and its simulator reads them) and
``validate_configuration`` with the limits of ``hw_configs/xylo-audio2.toml``.  Every other name exists, so that
imports succeed, and raises where it is used: no device, board or event stream is imitated.
"""

import sys
from types import ModuleType

import numpy as np

__version__ = "0.0.0+stand-in"

INPUTS, HIDDEN, OUTPUTS, FAN_OUT, WEIGHT_SHIFT = 16, 1000, 8, 63, 7


class _Absent(type):
    """Type of names that exist only to be imported."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _absent(f"{cls.__name__}.{name}")

    def __call__(cls, *_args, **_kwargs):
        raise RuntimeError(f"the stand-in for samna has no {cls.__name__}")


def _absent(name):
    return _Absent(name, (), {})


class _Module(ModuleType):
    """A module in which every public name can be looked up, and none of the unknown ones used."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _absent(f"{self.__name__}.{name}")


def _module(name, **names):
    module = _Module(f"samna.{name}")
    module.__path__ = []
    vars(module).update(names)
    sys.modules[f"samna.{name}"] = module
    return module


def _integer(low, high):
    """A field that is a plain integer and refuses what its register cannot hold."""

    class Field:
        def __set_name__(self, _owner, name):
            self.name = name

        def __get__(self, instance, _owner=None):
            return instance.__dict__.get(self.name, 0)

        def __set__(self, instance, value):
            if not low <= int(value) <= high:
                raise TypeError(f"{self.name} is {value}, outside {low} to {high}")
            instance.__dict__[self.name] = int(value)

    return Field()


def _weights():
    """A field that is an int8 matrix."""

    class Field:
        def __set_name__(self, _owner, name):
            self.name = name

        def __get__(self, instance, _owner=None):
            return instance.__dict__.get(self.name, np.zeros((0, 0), np.int8))

        def __set__(self, instance, value):
            given = np.asarray(value)
            if given.dtype != np.int8:
                raise TypeError(f"{self.name} is not int8")
            instance.__dict__[self.name] = given

    return Field()


class OutputNeuron:
    i_syn_decay, v_mem_decay = _integer(0, 15), _integer(0, 15)
    threshold = _integer(-(1 << 15), (1 << 15) - 1)
    v_mem_bias = _integer(-128, 127)


class ReservoirNeuron(OutputNeuron):
    i_syn2_decay = _integer(0, 15)
    alias_target = None


class _Group:
    weights, syn2_weights, weight_bit_shift = _weights(), _weights(), _integer(0, 255)

    def __init__(self):
        self.neurons, self.aliasing = [], False


class XyloConfiguration:
    def __init__(self):
        self.synapse2_enable = self.bias_enable = False
        self.input, self.reservoir, self.readout, self.debug = _Group(), _Group(), _Group(), _Group()


def validate_configuration(config):
    """Return whether the configuration is within the chip's limits, and which are broken."""
    broken = []
    for what, used, most in (
        ("input channels", len(config.input.weights), INPUTS),
        ("hidden neurons", len(config.reservoir.neurons), HIDDEN),
        ("output neurons", len(config.readout.neurons), OUTPUTS),
    ):
        if not 1 <= used <= most:
            broken.append(f"{used} {what}, 1 to {most} are allowed")
    pairs = config.reservoir.weights != 0
    if config.synapse2_enable:
        pairs = pairs | (config.reservoir.syn2_weights != 0)
    widest = int(pairs.sum(axis=1).max(initial=0))
    if widest > FAN_OUT:
        broken.append(f"a hidden neuron has a fan-out of {widest}, {FAN_OUT} is safe")
    for group in (config.input, config.reservoir, config.readout):
        if group.weight_bit_shift > WEIGHT_SHIFT:
            broken.append(f"a weight shift of {group.weight_bit_shift}, {WEIGHT_SHIFT} is the largest")
    return not broken, "\n".join(broken)


_configuration = _module(
    "xyloCore2.configuration", ReservoirNeuron=ReservoirNeuron, OutputNeuron=OutputNeuron, XyloConfiguration=XyloConfiguration
)
xyloCore2 = _module("xyloCore2", configuration=_configuration, validate_configuration=validate_configuration)
for _family in ("afe2", "xyloAudio3", "xyloImu", "speck2e", "speck2f"):
    globals()[_family] = _module(_family, configuration=_module(f"{_family}.configuration"))
specksim = _module("specksim", nodes=_module("specksim.nodes"))


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return _absent(f"samna.{name}")
