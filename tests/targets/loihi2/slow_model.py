"""A second emulator of Loihi 2 in plain Python integers, written from the rules and not from the kernel: slow and obvious.

Rules: lava-nc 0.10.0, and for the two models that lava lacks the docstring of ``config.Group``.
"""

from __future__ import annotations

from typing import Any

from nirhw.targets.loihi2.config import Group, Loihi2Configuration, Synapses

LIMIT = 2**23


def int32(x: int) -> int:
    return (x + 2**31) % 2**32 - 2**31


def toward_zero(x: int) -> int:
    return -(-x // 4096) if x < 0 else x // 4096


def shifted(x: int, exponent: int) -> int:
    return x * 2**exponent if exponent >= 0 else x // 2**-exponent


def stored(weight: int, bits: int, mode: str) -> int:
    if mode == "inhibitory":
        return -stored(-weight, bits, "excitatory")
    weight = max(-256, min(255, weight)) if mode == "mixed" else max(0, min(255, weight))
    step = 2 ** (8 - bits + (mode == "mixed"))
    return weight // step * step


def table(syn: Synapses, groups: dict[str, Group]) -> list[tuple[int, int, int, int]]:
    """Every synapse as (source neuron, target neuron, weight that acts, delay)."""
    if syn.kernel is not None:
        return convolution(syn)
    found = []
    for pre in range(groups[syn.source].size):
        for k in range(int(syn.start[pre]), int(syn.start[pre + 1])):
            delay = int(syn.delay if syn.delay.ndim == 0 else syn.delay[k])
            found.append((pre, int(syn.post[k]), stored(int(syn.weight[k]), syn.weight_bits, syn.sign_mode), delay))
    return found


def convolution(syn: Synapses) -> list[tuple[int, int, int, int]]:
    kernel = syn.kernel
    assert kernel is not None
    (_, rows, columns), (channels, out_rows, out_columns) = kernel.in_shape, kernel.out_shape
    _, per_group, height, width = kernel.weight.shape
    found = []
    for f in range(channels):
        for y in range(out_rows):
            for x in range(out_columns):
                for c in range(per_group):
                    for i in range(height):
                        for j in range(width):
                            row = y * kernel.stride[0] + i * kernel.dilation[0] - kernel.padding[0]
                            column = x * kernel.stride[1] + j * kernel.dilation[1] - kernel.padding[1]
                            if 0 <= row < rows and 0 <= column < columns:
                                source = f // (channels // kernel.groups) * per_group + c
                                pre = (source * rows + row) * columns + column
                                found.append((pre, (f * out_rows + y) * out_columns + x, int(kernel.weight[f, c, i, j]), 0))
    return found


def run(config: Loihi2Configuration, counts: dict[str, Any]) -> dict[str, Any]:
    """Run one sample ``counts[input][time][neuron]``; return what is sent, u and v as ``[time][neuron]`` lists by group."""
    groups = {g.name: g for g in config.groups}
    cells = [g for g in config.groups if g.model != "input"]
    tables = [table(s, groups) for s in config.synapses]
    u = {g.name: [0] * g.size for g in cells}
    v = {g.name: [0] * g.size for g in cells}
    arriving: dict[tuple[int, str], list[int]] = {}
    out: dict[str, Any] = {g.name: {"sent": [], "u": [], "v": []} for g in cells}
    overflow = {"wrapped_u": 0, "clipped_v": 0}
    steps = len(next(iter(counts.values())))
    for t in range(steps):
        sent = {name: list(rows[t]) for name, rows in counts.items()}
        for g in cells:
            drive = arriving.pop((t, g.name), [0] * g.size)
            sent[g.name] = neurons(g, u[g.name], v[g.name], drive, t + 1, overflow)
            out[g.name]["sent"].append(list(sent[g.name]))
            out[g.name]["u"].append(list(u[g.name]))
            out[g.name]["v"].append(list(v[g.name]))
        for syn, synapses in zip(config.synapses, tables, strict=True):
            sums: dict[int, list[int]] = {}
            for pre, post, weight, delay in synapses:
                payload = int(sent[syn.source][pre])
                if syn.message_bits == 0:
                    payload = int(payload != 0)
                if payload:
                    sums.setdefault(delay, [0] * groups[syn.target].size)[post] += weight * payload
            for delay, total in sums.items():
                slot = arriving.setdefault((t + 1 + delay, syn.target), [0] * groups[syn.target].size)
                for post, x in enumerate(total):
                    slot[post] += (x + LIMIT) % 2**24 - LIMIT if syn.kernel else shifted(int32(x), syn.exponent)
    return {**out, **overflow}


def neurons(g: Group, u: list[int], v: list[int], drive: list[int], time_step: int, overflow: dict[str, int]) -> list[int]:
    sent = []
    for k in range(g.size):
        if g.model == "lif_reset" and time_step % g.reset_interval == g.reset_offset % g.reset_interval:
            u[k] = v[k] = 0
        x = int32(toward_zero(u[k] * (4096 - (g.du + 1))) + drive[k] * 64)
        overflow["wrapped_u"] += x > LIMIT or x <= -LIMIT
        u[k] = x - 2 * LIMIT if x > LIMIT else x + 2 * LIMIT if x <= -LIMIT else x
        y = int32(toward_zero(v[k] * (4096 - g.dv)) + u[k] + shifted(int(g.bias_mantissa[k]), g.bias_exponent))
        overflow["clipped_v"] += abs(y) > LIMIT - 1
        v[k] = max(1 - LIMIT, min(LIMIT - 1, y))
        if g.model == "graded":
            sent.append(v[k] // 2**g.payload_shift)
            continue
        threshold = g.threshold * 64
        sent.append(int(v[k] > threshold))
        if sent[-1]:
            v[k] = v[k] - threshold if g.model == "lif_subtract" else 0
    return sent
