"""Runs in a Python with torch and sinabs: convolution and integrate-and-fire layer of sinabs, one event a step.

    python sinabs_worker.py cases.npz results.npz

Case ``k``: ``k/weights [out, in, y, x]``, ``k/geometry`` (stride y, x; padding y, x; threshold; lower bound; reset to zero),
``k/plane`` (channels, height, width) and ``k/events [event, (channel, y, x)]``.  Results: ``k/spikes`` (indices of
``[event, out, y, x]``) and ``k/v``, the states at the end.
"""

from __future__ import annotations

import sys

import numpy as np
import sinabs.layers as sl
import torch
from sinabs.activation import MembraneReset, MembraneSubtract, SingleSpike


def run(weights: np.ndarray, geometry: np.ndarray, plane: np.ndarray, events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    stride, padding, threshold, low, to_zero = geometry[:2], geometry[2:4], geometry[4], geometry[5], geometry[6]
    frames = torch.zeros(len(events), *plane.tolist())
    channel, y, x = torch.tensor(events).T
    frames[torch.arange(len(events)), channel, y, x] = 1
    drive = torch.nn.functional.conv2d(
        frames, torch.tensor(weights, dtype=torch.float32), None, stride.tolist(), padding.tolist()
    )
    reset = MembraneReset() if to_zero else MembraneSubtract()
    layer = sl.IAF(spike_threshold=torch.tensor(float(threshold)), spike_fn=SingleSpike, reset_fn=reset, min_v_mem=float(low))
    with torch.no_grad():
        spikes = layer(drive[None])[0]
    return np.argwhere(spikes.numpy() > 0), layer.v_mem[0].numpy()


def main() -> None:
    torch.set_num_threads(1)
    cases, results = np.load(sys.argv[1]), {}
    for k in range(int(cases["number"])):
        parts = (cases[f"{k}/{name}"] for name in ("weights", "geometry", "plane", "events"))
        results[f"{k}/spikes"], results[f"{k}/v"] = run(*parts)
    np.savez(sys.argv[2], **results)


if __name__ == "__main__":
    main()
