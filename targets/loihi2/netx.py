"""Export to lava-dl's ``.net`` format: HDF5 that its netx reader turns into a Lava network.

The format says less than a configuration does, and its reader chooses weight bits and exponents anew.  :func:`outside_netx`
names every reason why a configuration cannot be said in it; what is left reads back as the same arithmetic.  The reader's rules
and traps are those of lava-dl 0.6.0 (``netx/hdf5.py``, ``netx/utils.py``, ``netx/blocks``).

The neurons of a layer stand in the order of their group.  With lava-dl 0.6.0 a ``flatten`` layer needs numpy below 2.4.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import error
from nirhw.files import write_whole

from .config import Group, Kernel, Loihi2Configuration, Synapses
from .weights import acting, stored

Int = NDArray[np.int64]

#: the reader takes no other bias exponent
BIAS_EXPONENT = 6
MAX_DELAY = 62
#: a dense matrix with more weights than this is not written
MAX_WEIGHTS = 1 << 27


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of a ``.net`` file: a group, what drives it from the layer before, and its synapses to itself.

    Several connections between the same groups become one matrix.
    """

    group: Group
    forward: tuple[Synapses, ...]
    recurrent: tuple[Synapses, ...]

    @property
    def kernel(self) -> Kernel | None:
        """The kernel of a convolutional layer."""
        return self.forward[0].kernel


def outside_netx(config: Loihi2Configuration) -> tuple[str, ...]:
    """Return why ``config`` cannot be said in a ``.net`` file, one reason each; empty where it can."""
    layers, reasons = _chain(config)
    for before, layer in zip([None, *layers], layers, strict=False):
        reasons += [f"{layer.group.name}: {why}" for why in _of_group(layer.group)]
        reasons += [f"{layer.group.name}: {why}" for why in _of_synapses(layer, before)]
    return tuple(reasons)


def netx_bytes(config: Loihi2Configuration) -> bytes:
    """Return the content of a ``.net`` file; equal configurations give equal bytes.

    Raises:
        LegalizeError: NIRHW-E030 with every reason of :func:`outside_netx`.
        UsageError: NIRHW-E004 where h5py is not installed.
    """
    reasons = outside_netx(config)
    if reasons:
        raise error(
            "NIRHW-E030",
            "the configuration cannot be said in a .net file",
            why="; ".join(reasons),
            fix="use the Lava script, which says everything that lava can run",
        )
    try:
        import h5py
    except ImportError:
        raise error("NIRHW-E004", "h5py is needed to write .net files", fix="pip install 'nirhw[loihi2]'") from None
    stream = io.BytesIO()
    layers, _ = _chain(config)
    with h5py.File(stream, "w") as file:
        root = file.create_group("layer")
        for number, content in enumerate(_contents(config, layers)):
            _write(root.create_group(str(number)), content)
    return stream.getvalue()


def write_netx(config: Loihi2Configuration, path: str | os.PathLike[str]) -> None:
    """Write a ``.net`` file, whole or not at all; errors as :func:`netx_bytes`, NIRHW-E005 where the path cannot be written."""
    write_whole(path, netx_bytes(config))


def _write(node: Any, content: dict[str, Any]) -> None:
    for name, value in content.items():
        if isinstance(value, dict):
            _write(node.create_group(name), value)
        else:
            node.create_dataset(name, data=np.array([value], "S10") if isinstance(value, str) else value)


def _chain(config: Loihi2Configuration) -> tuple[list[Layer], list[str]]:
    """Follow the network from its input; return the layers as far as they form a chain, and what does not."""
    inputs = [g for g in config.groups if g.model == "input"]
    if len(inputs) != 1:
        return [], [f"there are {len(inputs)} inputs, a file has one"]
    groups = {g.name: g for g in config.groups}
    reasons: list[str] = []
    layers: list[Layer] = []
    seen, name = {inputs[0].name}, inputs[0].name
    while True:
        onward = tuple(s for s in config.synapses if s.source == name and s.target != name)
        if not onward:
            break
        target = onward[0].target
        if any(s.target != target for s in onward):
            reasons.append(f"{name}: its spikes reach several groups, a file holds a chain")
            break
        if any(s.target == target and s.source not in (name, target) for s in config.synapses):
            reasons.append(f"{target}: spikes of several groups arrive there, a file holds a chain")
            break
        layers.append(Layer(groups[target], onward, tuple(s for s in config.synapses if s.source == s.target == target)))
        seen.add(target)
        name = target
    if not reasons and (missing := sorted(set(groups) - seen)):
        reasons.append(f"{', '.join(missing)}: not part of the chain")
    if not layers and not reasons:
        reasons.append("no neurons")
    return layers, reasons


def _of_group(group: Group) -> list[str]:
    reasons = []
    if group.model != "lif":
        reasons.append(
            f"neurons of model {group.model}; resets at an interval are an argument of the reader, others are unknown to it"
        )
    bias = group.bias_mantissa << group.bias_exponent if group.bias_exponent >= 0 else group.bias_mantissa >> -group.bias_exponent
    if np.any(bias % (1 << BIAS_EXPONENT)):
        reasons.append(f"biases are no multiples of {1 << BIAS_EXPONENT}, the reader's exponent is {BIAS_EXPONENT}")
    elif np.any((bias >> BIAS_EXPONENT) != np.clip(bias >> BIAS_EXPONENT, -4096, 4095)):
        reasons.append(f"biases leave 13 bits at the reader's exponent of {BIAS_EXPONENT}")
    if not np.array_equal(group.neurons, np.arange(group.size)):
        reasons.append("its neurons are a part of a population")
    return reasons


def _of_synapses(layer: Layer, before: Layer | None) -> list[str]:
    used = (*layer.forward, *layer.recurrent)
    reasons = []
    if any(s.message_bits for s in used):
        reasons.append("payloads; the width of messages is an argument of the reader")
    if any(s.kernel is not None for s in used):
        return reasons + _of_convolution(layer, before)
    delays = [s.max_delay for s in used]
    if max(delays) > MAX_DELAY:
        reasons.append(f"delays above {MAX_DELAY}, which the reader clamps")
    if layer.recurrent and any(delays):
        reasons.append("delays in a recurrent layer, for which the reader drops the exponent")
    if len(layer.forward) > 1 and any(delays):
        reasons.append("delays in several connections between the same groups")
    if sum((s.start.size - 1) * layer.group.size for s in used) > MAX_WEIGHTS:
        return [*reasons, f"its dense matrices have more than {MAX_WEIGHTS} weights"]
    matrices = _matrices(layer)
    if matrices is None:
        reasons.append("a negative exponent rounds the sum; the file holds whole weights only")
    elif not _reads_back(matrices):
        reasons.append("the reader's own choice of weight bits and exponent does not give these weights back")
    return reasons


def _of_convolution(layer: Layer, before: Layer | None) -> list[str]:
    if layer.kernel is None or len(layer.forward) > 1 or layer.recurrent:
        return ["a convolution and other synapses in one layer"]
    if before is not None and (before.kernel is None or before.kernel.out_shape != layer.kernel.in_shape):
        return ["a convolution of what no convolution of that shape sends"]
    return []


def _matrices(layer: Layer) -> tuple[Int, ...] | None:
    """Return what a spike adds, ``[post, pre]``, over forward and recurrent synapses; None where it is no whole number."""
    found = []
    for connections in (layer.forward, layer.recurrent):
        if not connections:
            continue
        n_pre = connections[0].start.size - 1
        full = np.zeros((layer.group.size, n_pre), np.int64)
        for syn in connections:
            weight = acting(syn)
            if syn.exponent < 0 and np.any(weight % (1 << -syn.exponent)):
                return None
            weight = weight >> -syn.exponent if syn.exponent < 0 else weight << syn.exponent
            full[syn.post, np.repeat(np.arange(n_pre), np.diff(syn.start))] += weight
        found.append(full)
    return tuple(found)


def _reads_back(matrices: tuple[Int, ...]) -> bool:
    """Whether the reader's weight fitting followed by lava's truncation gives the same weights.

    The reader scales all matrices of a layer together; lava then finds the sign mode of each alone.
    """
    joint = np.hstack(matrices)
    if not joint.any():
        return False  # the reader divides by the largest weight
    low, high = int(joint.min()), int(joint.max())
    if low < 0 <= high and (high > 254 or low < -256):
        return False  # it clips
    mixed = low < 0 <= high
    scale = min(127 / high if high else np.inf, -128 / low) if mixed else -256 / low if low < 0 else 255 / high
    scale_bits = int(np.floor(np.log2(scale))) + mixed
    if scale_bits < 0:
        return False  # it shifts by a negative number of bits
    common = next(n for n in range(8, -1, -1) if not np.any(joint % (1 << n)))
    weight_bits = 8 - scale_bits - (common - mixed)
    if not 1 <= weight_bits <= 8:
        return False
    for matrix in matrices:
        own = "excitatory" if matrix.min() >= 0 else "inhibitory" if matrix.max() <= 0 else "mixed"
        if not np.array_equal(stored(matrix << scale_bits, weight_bits, own), matrix << scale_bits):  # type: ignore[arg-type]
            return False
    return True


def _contents(config: Loihi2Configuration, layers: list[Layer]) -> list[dict[str, Any]]:
    """Return the groups and datasets of all layers."""
    first = layers[0].kernel
    source = next(g for g in config.groups if g.model == "input")
    contents: list[dict[str, Any]] = [{"type": "input", "shape": np.array(first.in_shape if first else (source.size,))}]
    before: Kernel | None = None
    for layer in layers:
        kernel = layer.kernel
        if kernel is None and before is not None:
            contents.append({"type": "flatten", "shape": np.array([layer.forward[0].start.size - 1])})
        contents.append(_dense(layer) if kernel is None else _conv(layer.group, kernel))
        before = kernel
    return contents


def _neuron(group: Group) -> dict[str, Any]:
    return {
        "type": "CUBA",
        "iDecay": group.du + 1,
        "vDecay": group.dv,
        "vThMant": group.threshold,
        "refDelay": 1,
        "gradedSpike": False,
    }


def _bias(group: Group) -> Int:
    e = group.bias_exponent - BIAS_EXPONENT
    return np.asarray(group.bias_mantissa << e if e >= 0 else group.bias_mantissa >> -e)


def _dense(layer: Layer) -> dict[str, Any]:
    group, forward = layer.group, layer.forward[0]
    matrices = _matrices(layer)
    assert matrices is not None  # outside_netx has looked
    content: dict[str, Any] = {
        "type": "dense_rec" if layer.recurrent else "dense",
        "shape": np.array([group.size]),
        "inFeatures": forward.start.size - 1,
        "outFeatures": group.size,
        "weight": matrices[0].astype(np.float32),
        "neuron": _neuron(group),
    }
    if layer.recurrent:
        content["weight_rec"] = matrices[1].astype(np.float32)
    if forward.max_delay:
        content["delay"] = forward.delay_matrix(group.size).toarray()
    if group.bias_mantissa.any():
        content["bias"] = _bias(group)
    return content


def _conv(group: Group, kernel: Kernel) -> dict[str, Any]:
    content: dict[str, Any] = {
        "type": "conv",
        "shape": np.array(kernel.out_shape),
        "inChannels": kernel.in_shape[0],
        "outChannels": kernel.out_shape[0],
        "kernelSize": np.array(kernel.weight.shape[2:]),
        "stride": np.array(kernel.stride),
        "padding": np.array(kernel.padding),
        "dilation": np.array(kernel.dilation),
        "groups": kernel.groups,
        "weight": kernel.weight.astype(np.float32),
        "neuron": _neuron(group),
    }
    if group.bias_mantissa.any():
        # the reader takes one by neuron as (column, row, channel)
        content["bias"] = np.ascontiguousarray(_bias(group).reshape(kernel.out_shape).transpose(2, 1, 0))
    return content
