"""A second implementation of the Speck core rule, for tests: plain numpy, one whole map an event, recursion for depth first.

Written from the documented rule of a core, with nothing of the emulator's layout: an event makes a dense picture of the weights that
reach every neuron of the core, and a mask of the neurons that are visited at all.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from nirhw.targets.speck.config import SpeckConfiguration


class DenseChip:
    """All cores of a configuration, one sample.

    ``v[core]`` has axes ``[feature, y, x]``.  ``spikes`` lists ``(stimulus number, core, feature, y, x)`` in the order of emission.
    """

    def __init__(self, config: SpeckConfiguration, order: str = "feature"):
        self.config, self.order = config, order
        self.v = [core.neurons_initial_value.astype(np.int64).transpose(0, 2, 1) for core in config.cnn_layers]
        self.spikes: list[tuple[int, int, int, int, int]] = []
        self.counts = {name: Counter[int]() for name in ("events", "outside", "updates", "spikes", "bounded", "overflows")}
        self.number = -1

    def feed(self, core: int, feature: int, y: int, x: int, number: int | None = None) -> None:
        """One event of the host, worked off to the end; ``number`` where several belong together."""
        self.number = self.number + 1 if number is None else number
        self._event(core, feature, y, x)

    def tick(self) -> None:
        """One tick of the slow clock."""
        for number, core in enumerate(self.config.cnn_layers):
            if core.leak_enable and core.used:
                self._hold(number, self.v[number] + core.biases.astype(np.int64)[:, None, None], np.bool_(True))

    def _hold(self, number: int, total: np.ndarray, visited: np.ndarray) -> None:
        low = self.config.cnn_layers[number].threshold_low
        inside = np.clip(total, -32768, 32767)
        self.counts["overflows"][number] += int(np.sum((inside != total) & visited))
        self.counts["bounded"][number] += int(np.sum((inside < low) & visited))
        self.v[number] = np.where(visited, np.maximum(inside, low), self.v[number])

    def _event(self, number: int, channel: int, y: int, x: int) -> None:
        core = self.config.cnn_layers[number]
        dims = core.dimensions
        self.counts["events"][number] += 1
        inside = channel < dims.input_shape.feature_count and y < dims.input_shape.size.y and x < dims.input_shape.size.x
        if not inside:
            self.counts["outside"][number] += 1
            return
        weights, visited = self._picture(number, channel, y, x)
        self.counts["updates"][number] += int(visited.sum())
        self._hold(number, self.v[number] + weights, visited)
        fired = visited & (self.v[number] >= core.threshold_high)
        after = np.zeros_like(self.v[number]) if core.return_to_zero else self.v[number] - core.threshold_high
        self.v[number] = np.where(fired, after, self.v[number])
        where = [tuple(map(int, place)) for place in np.argwhere(fired)]  # by feature, y, x
        if self.order == "reversed":
            where.reverse()
        if self.order == "row":
            where.sort(key=lambda place: (place[1], place[2], place[0]))
        self.counts["spikes"][number] += len(where)
        self.spikes += [(self.number, number, *place) for place in where]
        for feature, row, column in where:
            for target in core.destinations:
                if target.enable and target.layer != 12:
                    self._event(target.layer, feature + target.feature_shift, row // target.pooling, column // target.pooling)

    def _picture(self, number: int, channel: int, y: int, x: int) -> tuple[np.ndarray, np.ndarray]:
        """Weights from one input pixel to every neuron, and which neurons the kernel covers."""
        core = self.config.cnn_layers[number]
        dims = core.dimensions
        rows, columns = np.arange(dims.output_shape.size.y), np.arange(dims.output_shape.size.x)
        tap_y = y + dims.padding.y - dims.stride.y * rows
        tap_x = x + dims.padding.x - dims.stride.x * columns
        covered_y, covered_x = (tap_y >= 0) & (tap_y < dims.kernel_size), (tap_x >= 0) & (tap_x < dims.kernel_size)
        mask = np.broadcast_to(covered_y[:, None] & covered_x, (dims.output_shape.feature_count, rows.size, columns.size))
        taps = core.weights[:, channel][:, np.where(covered_x, tap_x, 0)[None, :], np.where(covered_y, tap_y, 0)[:, None]]
        return np.where(mask, taps.astype(np.int64), 0), mask
