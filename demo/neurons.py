"""Spiking populations for training: a surrogate gradient, learnt time constants, IF, LIF and CubaLIF with their NIR nodes.

One step is forward Euler with v_leak = 0, r = tau_mem / dt and w_in = tau_syn / dt, so that a spike of weight w adds w:
current = alpha current + drive, membrane = beta membrane + current (the new one), with alpha, beta = 1 - dt / tau; a spike where
the membrane is strictly above its threshold; then the reset.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
import torch
from catalogue import Reset
from torch import Tensor, nn

SURROGATE_SLOPE = 5.0
THRESHOLD = 1.0
TAU_STEP = 1e-5  # seconds: learnt time constants are rounded to this
SHORTEST_TAU = 1.25  # steps


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


@dataclass
class State:
    """Synaptic current (where there is one) and membrane of one population, ``[sample, *shape]``."""

    current: Tensor
    membrane: Tensor


class TimeConstant(nn.Module):
    """A time constant learnt as its logarithm, shared by a population; ``start`` and ``dt`` in seconds."""

    def __init__(self, start: float, dt: float) -> None:
        super().__init__()
        self.dt = dt
        self.log_steps = nn.Parameter(torch.tensor(start / dt).log())

    def steps(self) -> Tensor:
        """The time constant in steps."""
        return self.log_steps.exp().clamp(min=SHORTEST_TAU)

    def decay(self) -> Tensor:
        """What one step leaves: 1 - dt / tau."""
        return 1 - 1 / self.steps()

    def seconds(self) -> float:
        """The time constant on the grid of the file."""
        return round(self.steps().item() * self.dt, 5)

    def round(self) -> None:
        """Move to the grid of the file."""
        with torch.no_grad():
            self.log_steps.copy_(((self.steps() * self.dt / TAU_STEP).round() * TAU_STEP / self.dt).log())


class Population(nn.Module, ABC):
    """Neurons of one kind in ``shape``; a subclass gives the membrane's update and the NIR node."""

    def __init__(self, shape: tuple[int, ...], reset: Reset) -> None:
        super().__init__()
        self.shape = shape
        self.reset = reset

    @abstractmethod
    def integrate(self, drive: Tensor, state: State) -> Tensor:
        """Advance the synapse in ``state``; return the membrane before threshold and reset."""

    @abstractmethod
    def node(self) -> nir.NIRNode:
        """The population in NIR, one entry a neuron, times in seconds."""

    def rest(self, like: Tensor) -> State:
        """Zero state for a batch as large as ``like[sample, ...]``."""
        zeros = like.new_zeros(len(like), *self.shape)
        return State(zeros, zeros)

    def step(self, drive: Tensor, state: State) -> Tensor:
        """One step on ``drive[sample, *shape]``: updates ``state``, returns the spikes."""
        membrane = self.integrate(drive, state)
        fired = SurrogateSpike.apply(membrane - THRESHOLD)
        state.membrane = membrane - (THRESHOLD if self.reset == "subtract" else membrane) * fired
        return fired

    def forward(self, drive: Tensor) -> Tensor:
        """Raster ``[step, sample, *shape]`` from rest for ``drive`` of the same shape."""
        state = self.rest(drive[0])
        return torch.stack([self.step(step, state) for step in drive])

    def ones(self) -> np.ndarray:
        """One float64 a neuron."""
        return np.ones(self.shape)


class IF(Population):
    """Integrate and fire; counts in steps (dt = 1, r = 1)."""

    def integrate(self, drive: Tensor, state: State) -> Tensor:
        return state.membrane + drive

    def node(self) -> nir.IF:
        ones = self.ones().astype(np.float32)
        return nir.IF(r=ones, v_threshold=THRESHOLD * ones, v_reset=0 * ones)


class LIF(Population):
    """Leaky integrate and fire with a learnt membrane time constant."""

    def __init__(self, shape: tuple[int, ...], reset: Reset, dt: float, tau_mem: float) -> None:
        super().__init__(shape, reset)
        self.tau_mem = TimeConstant(tau_mem, dt)

    def integrate(self, drive: Tensor, state: State) -> Tensor:
        return self.tau_mem.decay() * state.membrane + drive

    def node(self) -> nir.LIF:
        ones, tau_mem = self.ones(), self.tau_mem.seconds()
        return nir.LIF(
            tau=tau_mem * ones,
            r=tau_mem / self.tau_mem.dt * ones,
            v_leak=0 * ones,
            v_threshold=THRESHOLD * ones,
            v_reset=0 * ones,
        )


class CubaLIF(Population):
    """Leaky integrate and fire behind a filtering synapse, both time constants learnt."""

    def __init__(self, shape: tuple[int, ...], reset: Reset, dt: float, tau_syn: float, tau_mem: float) -> None:
        super().__init__(shape, reset)
        self.tau_syn = TimeConstant(tau_syn, dt)
        self.tau_mem = TimeConstant(tau_mem, dt)

    def integrate(self, drive: Tensor, state: State) -> Tensor:
        state.current = self.tau_syn.decay() * state.current + drive
        return self.tau_mem.decay() * state.membrane + state.current

    def node(self) -> nir.CubaLIF:
        ones, dt = self.ones(), self.tau_mem.dt
        tau_syn, tau_mem = self.tau_syn.seconds(), self.tau_mem.seconds()
        return nir.CubaLIF(
            tau_syn=tau_syn * ones,
            tau_mem=tau_mem * ones,
            r=tau_mem / dt * ones,
            v_leak=0 * ones,
            v_threshold=THRESHOLD * ones,
            v_reset=0 * ones,
            w_in=tau_syn / dt * ones,
        )


def round_taus(network: nn.Module) -> None:
    """Move all time constants of a network to the grid of the file, in float64."""
    network.double()
    for member in network.modules():
        if isinstance(member, TimeConstant):
            member.round()
