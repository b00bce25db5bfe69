"""What the training scripts share: seeds, costs, the training loop, the report and the writing of NIR files."""

import os
from collections.abc import Callable
from pathlib import Path

import nir
import numpy as np
import torch
from catalogue import DemoNetwork
from data import Split
from torch import Tensor, nn
from torch.nn import functional

SEED = 0


def set_seed() -> None:
    """Seed torch and keep it to one thread and to deterministic kernels."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def train(
    network: nn.Module,
    split: Split,
    loss: Callable[[Tensor, Tensor], Tensor],
    epochs: int,
    batch: int,
    rate: float,
    weight_decay: float = 0.0,
) -> None:
    """AdamW over ``epochs`` with a cosine schedule; ``loss(spikes, labels)`` runs the network itself."""
    spikes = torch.from_numpy(split.spikes).float()
    labels = torch.from_numpy(split.labels)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        total = 0.0
        for index in torch.randperm(len(labels)).split(batch):
            optimizer.zero_grad()
            value = loss(spikes[index], labels[index])
            value.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            total += float(value.detach()) * len(index)
        schedule.step()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1:3d}: loss {total / len(labels):.4f}", flush=True)


def decision_loss(output: Tensor, labels: Tensor, gain: float) -> Tensor:
    """Cross entropy of the counts of ``output[step, sample, class]``, ``gain`` logits a spike."""
    return functional.cross_entropy(gain * output.sum(0), labels)


def busy_layer_cost(raster: Tensor, wanted: float) -> Tensor:
    """Mean rate of a population above the wanted one, spikes a step."""
    return functional.relu(raster.mean() - wanted)


def neuron_rate_cost(raster: Tensor, quietest: float, busiest: float) -> Tensor:
    """Mean over neurons of how far a neuron's mean rate over ``raster[step, sample, neuron]`` is outside the wanted range."""
    rates = raster.mean((0, 1))
    return (functional.relu(rates - busiest) + functional.relu(quietest - rates)).mean()


def accuracy(counts: Tensor, labels: np.ndarray) -> float:
    """Share of samples whose largest output count (the lowest index wins ties) is at the label."""
    return float(np.mean(np.argmax(counts.numpy(), axis=1) == labels))


def report(network: nn.Module, **splits: Split) -> None:
    """Print accuracy in float64 and mean rates, layer by layer, on each split."""
    network.double()
    for name, split in splits.items():
        with torch.no_grad():
            rasters = network(torch.from_numpy(split.spikes).double())
        rates = ", ".join(f"{float(raster.mean()):.3f}" for raster in rasters)
        share = accuracy(rasters[-1].sum(0), split.labels)
        print(f"{name}: {100 * share:.2f} % of {len(split.labels)}, spikes a step: {rates}")


def write(entry: DemoNetwork, network: nn.Module, test: Split, calibration: Split) -> None:
    """Write a network, which has ``export(path)``, and its sets, where the catalogue says."""
    network.export(entry.graph)
    test.save(entry.test, entry.dt, entry.reset)
    calibration.save(entry.calibration, entry.dt, entry.reset)


def write_network(path: Path, nodes: dict[str, nir.NIRNode], edges: list[tuple[str, str]]) -> None:
    """Write a type-checked NIR graph, whole or not at all."""
    graph = nir.NIRGraph(nodes=nodes, edges=edges)
    temporary = path.with_name(f".{path.name}")
    nir.write(temporary, graph)
    nir.read(temporary)
    os.replace(temporary, path)
