"""Run a configuration of Loihi 2 with Lava: one process for each slice of a core, so that what was placed is what runs.

    python run_lava.py spikes.npz results.npz [--hardware]

This file and ``network.npz`` beside it were written by nirhw from the configuration alone; nothing here depends on the network.
``spikes.npz`` holds an array ``[time, neuron]`` for each input, by name.  ``results.npz`` receives for each group, likewise
``[time, neuron]``, ``<name>.spikes`` and, without ``--hardware``, ``<name>.v``.

Needs lava-nc 0.10.0 and numpy below 2.4.  Without ``--hardware`` lava's fixed-point models run on this machine; that way it was
compared with nirhw's emulator.  With it Intel's hardware layer (lava-loihi, for members of INRC) is needed as well; that way it
was never run: adapters stand between host and chip, which may add steps, and Lava's compiler may still move slices.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np


class Network:
    """The processes of a network and what joins them to the host.

    Attributes:
        inputs: sources by input number.
        slices: neuron processes.
        kept: everything else, which must live as long as the run.
    """

    def __init__(self, data: dict[str, Any], spikes: dict[str, Any], hardware: bool):
        self.data, self.hardware = data, hardware
        self.kept: list[Any] = []
        self.outs = []  # out-ports by node: inputs, then slices
        self.steps = max(len(values) for values in spikes.values())
        for number, name in enumerate(data["inputs"].tolist()):
            self.outs.append(self._source(spikes[name], int(data["input_bits"][number])))
        self.slices = [self._neurons(row) for row in range(len(data["slices"]))]
        self.outs += [process.s_out for process in self.slices]
        for link in range(len(data["links"])):
            self._connect(link)

    def _source(self, values: Any, message_bits: int) -> Any:
        from lava.proc.io.source import RingBuffer

        source = RingBuffer(data=np.asarray(values).T.astype(np.int32))
        self.kept.append(source)
        if not self.hardware:
            return source.s_out
        from lava.proc import embedded_io

        adapter = embedded_io.spike.PyToNxAdapter(shape=source.s_out.shape, num_message_bits=message_bits)
        source.s_out.connect(adapter.inp)
        self.kept.append(adapter)
        return adapter.out

    def _neurons(self, row: int) -> Any:
        from lava.proc.lif.process import LIF, LIFReset

        size, du, dv, vth, bias_exp, interval, offset = self.data["slices"][row].tolist()
        bias = self.data[f"bias{row}"]
        registers = {"shape": (size,), "du": du, "dv": dv, "vth": vth, "bias_mant": bias, "bias_exp": bias_exp}
        return LIFReset(**registers, reset_interval=interval, reset_offset=offset) if interval else LIF(**registers)

    def _connect(self, link: int) -> None:
        source, target, *numbers = self.data["links"][link].tolist()
        out, into = self.outs[source], self.slices[target].a_in
        if f"kernel{link}" in self.data:
            self._convolve(link, out, into, message_bits=numbers[3])
            return
        process = self._synapses(link, into.shape[0], *numbers)
        out.connect(process.s_in)
        process.a_out.connect(into)
        self.kept.append(process)

    def _convolve(self, link: int, out: Any, into: Any, message_bits: int) -> None:
        from lava.proc.conv.process import Conv

        channels, rows, columns, *geometry = self.data[f"geometry{link}"].tolist()
        conv = Conv(
            # lava convolves, in the order column, row, channel; the kernel correlates, in the order channel, row, column
            weight=self.data[f"kernel{link}"].transpose(0, 3, 2, 1)[:, ::-1, ::-1].copy(),
            input_shape=(columns, rows, channels),
            stride=geometry[0:2][::-1],
            padding=geometry[2:4][::-1],
            dilation=geometry[4:6][::-1],
            groups=geometry[6],
            num_message_bits=message_bits,
        )
        out.reshape((channels, rows, columns)).transpose((2, 1, 0)).connect(conv.s_in)
        conv.a_out.transpose((2, 1, 0)).reshape(into.shape).connect(into)
        self.kept.append(conv)

    def _synapses(
        self, link: int, n_post: int, sparse: int, exponent: int, weight_bits: int, message_bits: int, sign_mode: int
    ) -> Any:
        from lava.proc.dense.process import DelayDense, Dense
        from lava.proc.sparse.process import DelaySparse, Sparse
        from lava.utils.weightutils import SignMode
        from scipy.sparse import csc_matrix

        start, post, weight, delay = (self.data[f"{name}{link}"] for name in ("start", "post", "weight", "delay"))
        shape = (n_post, len(start) - 1)
        weights = csc_matrix((weight, post, start), shape=shape).tocsr()
        delays = csc_matrix((delay, post, start), shape=shape).tocsr()
        options = {
            "weight_exp": exponent,
            "num_weight_bits": weight_bits,
            "num_message_bits": message_bits,
            "sign_mode": SignMode(sign_mode),
        }
        if sparse:
            return DelaySparse(weights=weights, delays=delays, **options) if delay.any() else Sparse(weights=weights, **options)
        if delay.any():
            return DelayDense(weights=weights.toarray(), delays=delays.toarray(), **options)
        return Dense(weights=weights.toarray(), **options)

    def run(self) -> dict[str, Any]:
        """Run all steps and return spikes, and v where lava itself runs them, by group."""
        from lava.magma.core.run_conditions import RunSteps
        from lava.magma.core.run_configs import Loihi2HwCfg, Loihi2SimCfg

        spikes = [self._sink(process.s_out) if self.hardware else self._monitor(process.s_out) for process in self.slices]
        v = [] if self.hardware else [self._monitor(process.v) for process in self.slices]
        config = Loihi2HwCfg(select_tag="fixed_pt") if self.hardware else Loihi2SimCfg(select_tag="fixed_pt")
        self.slices[-1].run(condition=RunSteps(num_steps=self.steps), run_cfg=config)
        results = {**self._by_group("spikes", spikes), **(self._by_group("v", v) if v else {})}
        self.slices[-1].stop()
        return results

    def _monitor(self, port: Any) -> Any:
        from lava.proc.monitor.process import Monitor

        monitor = Monitor()
        monitor.probe(port, self.steps)
        return monitor

    def _sink(self, port: Any) -> Any:
        from lava.proc import embedded_io
        from lava.proc.io.sink import RingBuffer

        adapter, sink = embedded_io.spike.NxToPyAdapter(shape=port.shape), RingBuffer(shape=port.shape, buffer=self.steps)
        port.connect(adapter.inp)
        adapter.out.connect(sink.a_in)
        self.kept.append(adapter)
        return sink

    def _by_group(self, what: str, readers: list[Any]) -> dict[str, Any]:
        parts: dict[str, list[Any]] = {}
        for name, reader in zip(self.data["slice_groups"].tolist(), readers, strict=True):
            if hasattr(reader, "get_data"):  # a monitor
                (record,) = reader.get_data().values()
                values = next(iter(record.values()))
            else:
                values = reader.data.get().T
            parts.setdefault(f"{name}.{what}", []).append(values.astype(np.int64))
        return {name: np.concatenate(pieces, axis=1) for name, pieces in parts.items()}


def main() -> None:
    """Read the network and the spikes, run them, write the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("spikes")
    parser.add_argument("results")
    parser.add_argument("--hardware", action="store_true", help="run on the chip instead of this machine")
    arguments = parser.parse_args()
    with np.load(Path(__file__).with_name("network.npz")) as network, np.load(arguments.spikes) as spikes:
        results = Network(dict(network), dict(spikes), arguments.hardware).run()
    np.savez(arguments.results, **results)


if __name__ == "__main__":
    main()
