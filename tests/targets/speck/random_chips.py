"""Random legal Speck configurations: chains, splits and merges of small cores, with every property that a core has."""

from __future__ import annotations

import numpy as np

from nirhw.targets.speck.config import (
    CnnLayerConfig,
    CnnLayerDestination,
    CnnLayerDimensions,
    CnnLayerShape,
    SpeckConfiguration,
    Vec2,
)


def shape(features: int, y: int, x: int) -> CnnLayerShape:
    return CnnLayerShape(Vec2(x, y), features)


def core_of(
    weights: np.ndarray,
    source: CnnLayerShape,
    *,
    padding: tuple[int, int] = (0, 0),
    stride: tuple[int, int] = (1, 1),
    threshold: int = 100,
    low: int = -100,
    to: tuple[CnnLayerDestination, ...] = (),
    **more: object,
) -> CnnLayerConfig:
    """A core from ``weights[out, in, y, x]``; ``padding`` and ``stride`` are (y, x)."""
    size = weights.shape[2]
    rows = (source.size.y + 2 * padding[0] - size) // stride[0] + 1
    columns = (source.size.x + 2 * padding[1] - size) // stride[1] + 1
    features = weights.shape[0]
    arrays = {
        "biases": np.zeros(features, np.int8),
        "neurons_initial_value": np.zeros((features, columns, rows), np.int16),
    }
    both = (*to, CnnLayerDestination(), CnnLayerDestination())[:2]
    return CnnLayerConfig(
        dimensions=CnnLayerDimensions(
            source, shape(features, rows, columns), Vec2(padding[1], padding[0]), Vec2(stride[1], stride[0]), size
        ),
        weights=np.asarray(weights).transpose(0, 1, 3, 2).astype(np.int8),
        threshold_high=threshold,
        threshold_low=low,
        destinations=both,  # type: ignore[arg-type]
        **{**arrays, **more},  # type: ignore[arg-type]
    )


def chip_of(*cores: CnnLayerConfig) -> SpeckConfiguration:
    """A chip with these cores, from core 0 on."""
    return SpeckConfiguration("speck2f", (*cores, *(CnnLayerConfig.unused() for _ in range(9 - len(cores)))))


def to(layer: int, pooling: int = 1, shift: int = 0) -> CnnLayerDestination:
    return CnnLayerDestination(True, layer, pooling, shift)


def random_chip(seed: int) -> SpeckConfiguration:
    """A chip of two to five cores; each has one or two sources among the ones before it, so it splits and merges."""
    rng = np.random.default_rng(seed)
    number = int(rng.integers(2, 6))
    # destinations of each core, decided first: core k hears of k - 1, and perhaps of another one
    heard: list[list[int]] = [[], *([k - 1] for k in range(1, number))]
    for k in range(2, number):
        other = int(rng.integers(0, k - 1))
        if rng.random() < 0.6 and sum(other in h for h in heard) < 2:
            heard[k].append(other)
    cores: list[CnnLayerConfig] = []
    targets: list[list[CnnLayerDestination]] = [[] for _ in range(number)]
    for k in range(number):
        if k:
            parts = []
            shift = 0
            pooling = int(rng.choice([1, 1, 2, 4]))
            concatenate = rng.random() < 0.5
            for source in heard[k]:
                parts.append((source, pooling, shift))
                shift += cores[source].dimensions.output_shape.feature_count if concatenate else 0
            channels = max(s + cores[c].dimensions.output_shape.feature_count for c, _, s in parts)
            rows = max(max(cores[c].dimensions.output_shape.size.y // p, 1) for c, p, _ in parts)
            columns = max(max(cores[c].dimensions.output_shape.size.x // p, 1) for c, p, _ in parts)
            for source, factor, first in parts:
                targets[source].append(to(k, factor, first))
            cores.append(_random_core(rng, shape(channels, rows, columns)))
        else:
            cores.append(_random_core(rng, shape(*(int(n) for n in rng.integers((1, 5, 5), (4, 13, 13))))))
    linked = []
    for core, own in zip(cores, targets, strict=True):
        pair = (*own, CnnLayerDestination(), CnnLayerDestination())[:2]
        linked.append(CnnLayerConfig(**{**vars(core), "destinations": pair}))
    return chip_of(*linked)


def _random_core(rng: np.random.Generator, source: CnnLayerShape) -> CnnLayerConfig:
    features = int(rng.integers(1, 7))
    padding = tuple(int(p) for p in rng.integers(0, 4, 2))
    room = min(source.size.y + 2 * padding[0], source.size.x + 2 * padding[1])
    size = int(rng.integers(1, min(room, 6) + 1))
    stride = tuple(int(s) for s in rng.choice([1, 1, 1, 2, 4, 8], 2))
    weights = rng.integers(-128, 128, (features, source.feature_count, size, size))
    extreme = rng.random() < 0.2  # states that reach the ends of 16 bits
    threshold = int(rng.choice([1, 2, 40, 150, 300])) if not extreme else int(rng.choice([1, 32700, 32767]))
    low = int(rng.choice([-1, -60, -400])) if not extreme else -32768
    core = core_of(
        np.abs(weights) if extreme and threshold == 1 else weights,
        source,
        padding=padding,
        stride=stride,
        threshold=threshold,
        low=low,
        return_to_zero=bool(rng.random() < 0.4),
        leak_enable=bool(rng.random() < 0.5),
        biases=rng.integers(-128, 128, features).astype(np.int8),
    )
    span = (-32768, 32768) if extreme else (low, min(2 * threshold, 500))
    values = rng.integers(*span, core.neurons_initial_value.shape).astype(np.int16)
    return CnnLayerConfig(**{**vars(core), "neurons_initial_value": values})
