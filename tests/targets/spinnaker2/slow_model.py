"""A plain, slow model of SpiNNaker2's neuron applications, written from NESTML's public chip-side code, not from the emulator.

It knows nothing of nirhw: a processing element (PE) holds 16-bit synapse words behind a population table of keys and masks, a ring of
eight slots by synapse type, and numpy.float32 scalars; packets are 32-bit keys.  The tests build it from a configuration, and the
fake of py-spinnaker2 from populations and projections.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

f32 = np.float32
#: bits of the fields of a synapse word above the 8 bits of the target and the type bit: (delay, weight)
FIELDS = {
    "lif": (3, 4),
    "lif_curr_exp": (3, 4),
    "lif_no_delay": (0, 7),
    "lif_curr_exp_no_delay": (0, 7),
}
SLOTS = 8


def round_to_float32(value: Fraction) -> np.float32:
    """Return the float32 next to an exact number, ties to even; 0 for what is below half the smallest."""
    if value == 0:
        return f32(0)
    exponent = abs(value.numerator).bit_length() - value.denominator.bit_length()
    if abs(value) < Fraction(2) ** exponent:
        exponent -= 1
    quantum = Fraction(2) ** max(exponent - 23, -149)
    return f32(float(round(value / quantum) * quantum))


def multiply_add(a, b, c, fused: bool) -> np.float32:
    """``a * b + c`` of float32, rounded once or twice."""
    if fused:
        return round_to_float32(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)))
    return f32(f32(a * b) + c)


def pack(application: str, target: int, weight: int, delay: int) -> int:
    """Return the synapse word; the sign of the weight is the type bit."""
    delay_bits, weight_bits = FIELDS[application]
    assert 0 <= target < 256, "a PE has at most 256 targets"
    assert 0 <= delay < 1 << delay_bits, "delay does not fit its field"
    assert abs(weight) < 1 << weight_bits, "weight does not fit its field"
    return target | (weight < 0) << 8 | delay << 9 | abs(weight) << (9 + delay_bits)


def unpack(application: str, word: int) -> tuple[int, int, int, int]:
    """Return target, type, delay and magnitude of a synapse word."""
    delay_bits, _ = FIELDS[application]
    assert 0 <= word < 1 << 16
    return word & 0xFF, word >> 8 & 1, word >> 9 & (1 << delay_bits) - 1, word >> (9 + delay_bits)


class Element:
    """One PE with one application.

    Attributes:
        application, size: what runs, on how many neurons.
        parameters: list of float32 by name, one a neuron.
        subtract: whether the reset takes the threshold off.
        key: of neuron 0.
        times: for a spike_list, the steps in which each neuron sends.
    """

    def __init__(self, application, size, key, parameters=None, subtract=False, times=None, fused=False):
        self.application, self.size, self.key = application, size, key
        self.parameters = {k: [f32(x) for x in v] for k, v in (parameters or {}).items()}
        self.subtract, self.fused = subtract, fused
        self.times = times or {}
        self.table = []  # (key, mask, handler of the source neuron's index)
        self.step_counter = -1
        self.ring = [[[0] * size for _ in range(2)] for _ in range(SLOTS)]
        if application != "spike_list":
            self.v = list(self.parameters["v_init"])
        self.current = [[f32(0)] * size, [f32(0)] * size]
        self.history = {"spikes": [], "v": [], "i": []}

    def add_rows(self, key: int, mask: int, rows: dict[int, list[int]]) -> None:
        """Connect a source: its synapse words by source neuron."""

        def handler(source):
            for word in rows.get(source, []):
                target, kind, delay, magnitude = unpack(self.application, word)
                assert target < self.size
                self.ring[(self.step_counter + delay) % SLOTS][kind][target] += magnitude

        self.table.append((key, mask, handler))

    def add_convolution(self, key: int, mask: int, weights, geometry: dict[str, int]) -> None:
        """Connect a source by a kernel ``weights[c_in][c_out][row][column]``; geometry by py-spinnaker2's names."""
        weights = np.asarray(weights)
        assert weights.dtype == np.int8
        _, c_out, kernel_rows, kernel_columns = weights.shape
        height, width = geometry["in_height"], geometry["in_width"]
        pooled_height, pooled_width = height // geometry["pool_y"], width // geometry["pool_x"]
        out_height = (pooled_height + geometry["pad_top"] + geometry["pad_bottom"] - kernel_rows) // geometry["stride_y"] + 1
        out_width = (pooled_width + geometry["pad_left"] + geometry["pad_right"] - kernel_columns) // geometry["stride_x"] + 1
        assert c_out * out_height * out_width == self.size

        places = [(f, y, x) for f in range(c_out) for y in range(out_height) for x in range(out_width)]

        def handler(source):
            c, y, x = source // (height * width), source // width % height, source % width
            y, x = y // geometry["pool_y"], x // geometry["pool_x"]
            if y >= pooled_height or x >= pooled_width:
                return
            for target, (f, oy, ox) in enumerate(places):
                ky = y + geometry["pad_top"] - oy * geometry["stride_y"]
                kx = x + geometry["pad_left"] - ox * geometry["stride_x"]
                if 0 <= ky < kernel_rows and 0 <= kx < kernel_columns:
                    weight = int(weights[c, f, ky, kx])
                    self.ring[self.step_counter % SLOTS][int(weight < 0)][target] += abs(weight)

        self.table.append((key, mask, handler))

    def step(self, packets: list[int]) -> list[int]:
        """Run one step on the packets of the step before; return the packets of this one."""
        self.step_counter += 1
        for packet in packets:
            for key, mask, handler in self.table:
                if packet & mask == key:
                    handler(packet - key)
        if self.application == "spike_list":
            fired = [self.step_counter in self.times.get(n, ()) for n in range(self.size)]
        else:
            fired = [self._update(n) for n in range(self.size)]
            self.history["v"].append(list(self.v))
        self.history["spikes"].append(fired)
        slot = self.ring[self.step_counter % SLOTS]
        slot[0], slot[1] = [0] * self.size, [0] * self.size
        return [self.key + n for n in range(self.size) if fired[n]]

    def _update(self, n: int) -> bool:
        p = {k: v[n] for k, v in self.parameters.items()}
        arrived = [f32(kind[n]) for kind in self.ring[self.step_counter % SLOTS]]
        if "exc_decay" in p:
            assert p["t_refrac"] == 0
            for kind, decay in enumerate((p["exc_decay"], p["inh_decay"])):
                self.current[kind][n] = multiply_add(decay, self.current[kind][n], arrived[kind], self.fused)
        else:
            self.current[0][n], self.current[1][n] = arrived
        total = f32(self.current[0][n] - self.current[1][n])
        v = f32(multiply_add(p["alpha_decay"], self.v[n], total, self.fused) + p["i_offset"])
        fires = bool(v > p["threshold"])
        if fires:
            v = f32(v - p["threshold"]) if self.subtract else p["v_reset"]
        self.v[n] = v
        if n == 0:
            self.history["i"].append([])
        self.history["i"][-1].append(total)
        return fires


def run(elements: list[Element], steps: int) -> None:
    """Run all PEs in step; histories grow in them."""
    packets: list[int] = []
    for _ in range(steps):
        packets = [key for sent in [element.step(packets) for element in elements] for key in sent]
