"""What the two training scripts share: surrogate spikes, seeds, the training loop and the writing of NIR files."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from data import Split
from torch import Tensor, nn

NETWORKS = Path(__file__).parent / "networks"
SURROGATE_SLOPE = 5.0


class SurrogateSpike(torch.autograd.Function):
    """Heaviside step (strictly above 0) with the gradient 1 / (1 + slope * abs(x))^2."""

    @staticmethod
    def forward(ctx: Any, excess: Tensor) -> Tensor:
        ctx.save_for_backward(excess)
        return (excess > 0).to(excess.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (excess,) = ctx.saved_tensors
        return gradient / (1 + SURROGATE_SLOPE * excess.abs()) ** 2


def spike(excess: Tensor) -> Tensor:
    """1 where ``excess`` (membrane minus threshold) is positive, else 0; differentiable through the surrogate."""
    return SurrogateSpike.apply(excess)


def set_seed(seed: int) -> None:
    """Seed torch and keep it to one thread and to deterministic kernels."""
    torch.manual_seed(seed)
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


def accuracy(counts: Tensor, labels: np.ndarray) -> float:
    """Share of samples whose largest output count (the lowest index wins ties) is at the label."""
    return float(np.mean(np.argmax(counts.numpy(), axis=1) == labels))


def write_network(path: Path, nodes: dict[str, nir.NIRNode], edges: list[tuple[str, str]]) -> None:
    """Write a type-checked NIR graph, whole or not at all."""
    graph = nir.NIRGraph(nodes=nodes, edges=edges)
    temporary = path.with_name(f".{path.name}")
    nir.write(temporary, graph)
    nir.read(temporary)
    os.replace(temporary, path)
