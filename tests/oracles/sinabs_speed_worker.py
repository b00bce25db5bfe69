"""Runs in a Python with torch and sinabs: the frame simulation of a chain of Speck cores, one event a frame, timed.

Reads one JSON document from stdin (layers, plane, events) and writes one line of JSON with the events per second; loading, building
and a first short run are not timed.
"""

from __future__ import annotations

import json
import sys
import time

import sinabs.layers as sl
import torch
from torch import nn


def main() -> None:
    torch.set_num_threads(1)
    task = json.load(sys.stdin)
    layers: list[nn.Module] = []
    for entry in task["layers"]:
        weights = torch.tensor(entry["weights"], dtype=torch.float32)
        conv = nn.Conv2d(
            weights.shape[1], weights.shape[0], weights.shape[2], tuple(entry["stride"]), tuple(entry["padding"]), bias=False
        )
        conv.weight.data = weights
        layers += [conv, sl.IAFSqueeze(batch_size=1, spike_threshold=entry["threshold"], min_v_mem=float(entry["low"]))]
        if entry["pooling"] > 1:
            layers.append(sl.SumPool2d(entry["pooling"]))
    net = nn.Sequential(*layers)
    events = torch.tensor(task["events"])
    frames = torch.zeros(len(events), *task["plane"])
    frames[torch.arange(len(events)), events[:, 0], events[:, 1], events[:, 2]] = 1
    with torch.no_grad():
        net(frames[:50])
        start = time.perf_counter()
        net(frames)
        seconds = time.perf_counter() - start
    print(json.dumps({"events_per_second": len(events) / seconds}))


if __name__ == "__main__":
    main()
