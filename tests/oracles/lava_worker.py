"""Runs lava's fixed-point processes on networks from an .npz file; started by the oracle environment's Python, which lacks nirhw.

    python lava_worker.py states inputs.npz outputs.npz
    python lava_worker.py time inputs.npz outputs.npz
    python lava_worker.py netx inputs.npz outputs.npz
    python lava_worker.py script inputs.npz outputs.npz

Job ``k`` reads ``k/<field>`` (arrays named as in :func:`random_loihi2.job`).  ``states`` writes ``k/<group>/<sent, u or v>`` as
``[time, neuron]``; ``time`` writes ``k/seconds``, the wall time of the steps after the first, without any reading.  ``netx`` reads
``k/file``, the bytes of a ``.net`` file, and ``k/counts`` in the shape (time, channel, row, column) or (time, neuron); it writes
``k/<layer>/<sent or v>``, flat in the order channel, row, column.  ``script`` reads ``k/files/<name>``, the bytes of a generated
script and its data, and ``k/spikes``, those of its input file; it writes ``k/results``, the bytes of its output file.
"""

import runpy
import sys
import tempfile
import time
from pathlib import Path

import lava_shim
import numpy as np

lava_shim.import_lava()

from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi2SimCfg  # noqa: E402
from lava.proc.conv.process import Conv  # noqa: E402
from lava.proc.dense.process import DelayDense, Dense  # noqa: E402
from lava.proc.io.source import RingBuffer  # noqa: E402
from lava.proc.lif.process import LIF, LIFReset  # noqa: E402
from lava.proc.monitor.process import Monitor  # noqa: E402
from lava.proc.sparse.process import DelaySparse, Sparse  # noqa: E402
from lava.utils.weightutils import SignMode  # noqa: E402
from scipy.sparse import csr_matrix  # noqa: E402

MODES = {"mixed": SignMode.MIXED, "excitatory": SignMode.EXCITATORY, "inhibitory": SignMode.INHIBITORY}
RECORDS = {"sent": "s_out", "u": "u", "v": "v"}


def neurons(job, name, model):
    """Return the process of one group."""
    size, du, dv, vth, bias_exp, interval, offset = job[f"group/{name}"].tolist()
    if model == "input":
        return RingBuffer(data=job[f"counts/{name}"].T.astype(np.int32))
    registers = {"shape": (size,), "du": du, "dv": dv, "vth": vth, "bias_mant": job[f"bias/{name}"], "bias_exp": bias_exp}
    if model == "lif_reset":
        return LIFReset(**registers, reset_interval=interval, reset_offset=offset)
    return LIF(**registers)


def connect(job, k, source, target):
    """Join two groups by the process that the synapses' kind and delays ask for; return it, to keep it alive."""
    exponent, bits, message_bits = job[f"synapse/{k}"].tolist()
    if f"kernel/{k}" in job:
        channels, rows, columns, *geometry = job[f"geometry/{k}"].tolist()
        stride, padding, dilation = (geometry[i : i + 2][::-1] for i in (0, 2, 4))
        conv = Conv(
            # lava convolves, in the order column, row, channel; NIR correlates, in the order channel, row, column
            weight=job[f"kernel/{k}"].transpose(0, 3, 2, 1)[:, ::-1, ::-1].copy(),
            input_shape=(columns, rows, channels),
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=geometry[6],
            num_message_bits=message_bits,
        )
        source.s_out.reshape((channels, rows, columns)).transpose((2, 1, 0)).connect(conv.s_in)
        conv.a_out.transpose((2, 1, 0)).reshape(target.a_in.shape).connect(target.a_in)
        return conv
    weight, delay = job[f"weight/{k}"], job[f"delay/{k}"]
    options = {
        "weight_exp": exponent,
        "num_weight_bits": bits,
        "sign_mode": MODES[str(job["modes"][k])],
        "num_message_bits": message_bits,
    }
    if str(job["kinds"][k]) == "sparse":
        matrix = csr_matrix(weight.astype(np.int32))
        if delay.any():
            process = DelaySparse(weights=matrix, delays=csr_matrix(delay), **options)
        else:
            process = Sparse(weights=matrix, **options)
    elif delay.any():
        process = DelayDense(weights=weight, delays=delay, **options)
    else:
        process = Dense(weights=weight, **options)
    source.s_out.connect(process.s_in)
    process.a_out.connect(target.a_in)
    return process


def build(job):
    """Return the processes by group, their connections and the number of steps."""
    processes = {str(n): neurons(job, str(n), str(m)) for n, m in zip(job["groups"], job["models"], strict=True)}
    kept = [connect(job, k, processes[str(a)], processes[str(b)]) for k, (a, b) in enumerate(job["edges"])]
    steps = next(len(v) for name, v in job.items() if name.startswith("counts/"))
    return processes, kept, steps


def record_states(name, job, results):
    """Run a job and keep what every group sends, its u and its v."""
    processes, _kept, steps = build(job)
    monitors = {}
    for group, process in processes.items():
        for record, attribute in RECORDS.items():
            if not isinstance(process, RingBuffer):
                monitors[group, record] = Monitor()
                monitors[group, record].probe(getattr(process, attribute), steps)
    last = processes[str(job["groups"][-1])]
    last.run(condition=RunSteps(num_steps=steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    for (group, record), monitor in monitors.items():
        (values,) = monitor.get_data().values()
        results[f"{name}/{group}/{record}"] = next(iter(values.values())).astype(np.int64)
    last.stop()


def measure(name, job, results):
    """Time the steps after the first, which compiles and starts the processes."""
    processes, _kept, steps = build(job)
    last = processes[str(job["groups"][-1])]
    config = Loihi2SimCfg(select_tag="fixed_pt")
    last.run(condition=RunSteps(num_steps=1), run_cfg=config)
    begin = time.perf_counter()
    last.run(condition=RunSteps(num_steps=steps - 1), run_cfg=config)
    results[f"{name}/seconds"] = np.array(time.perf_counter() - begin)
    results[f"{name}/v"] = last.v.get()
    last.stop()


def flat_over_time(values):
    """Return ``[time, neuron]`` of a monitor's record, whose planes are column, row, channel."""
    return values.transpose(0, 3, 2, 1).reshape(len(values), -1) if values.ndim == 4 else values


def run_netx(name, job, results):
    """Run a ``.net`` file with lava-dl's reader."""
    with tempfile.NamedTemporaryFile(suffix=".net") as file:
        file.write(job["file"].tobytes())
        file.flush()
        network = lava_shim.import_netx().Network(net_config=file.name)
        counts = job["counts"].astype(np.int32)
        source = RingBuffer(data=np.moveaxis(counts, 0, -1) if counts.ndim == 2 else counts.transpose(3, 2, 1, 0))
        source.s_out.connect(network.inp)
        monitors = {}
        for number, layer in enumerate(network.layers):
            for record, port in (("sent", layer.neuron.s_out), ("v", layer.neuron.v)):
                monitors[f"{name}/{number}/{record}"] = Monitor()
                monitors[f"{name}/{number}/{record}"].probe(port, len(counts))
        network.run(condition=RunSteps(num_steps=len(counts)), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
        for key, monitor in monitors.items():
            (values,) = monitor.get_data().values()
            results[key] = flat_over_time(next(iter(values.values()))).astype(np.int64)
        network.stop()


def run_script(name, job, results):
    """Run a generated script as a user would, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {key.removeprefix("files/"): values for key, values in job.items() if key.startswith("files/")}
        for file, content in {**paths, "spikes.npz": job["spikes"]}.items():
            (Path(folder) / file).write_bytes(content.tobytes())
        given = sys.argv
        sys.argv = ["run_lava.py", f"{folder}/spikes.npz", f"{folder}/results.npz"]
        try:
            runpy.run_path(f"{folder}/run_lava.py", run_name="__main__")
        finally:
            sys.argv = given
        results[f"{name}/results"] = np.frombuffer((Path(folder) / "results.npz").read_bytes(), np.uint8)


def main():
    """Read the jobs, run them, write the results."""
    mode, source, target = sys.argv[1:]
    work = {"states": record_states, "time": measure, "netx": run_netx, "script": run_script}[mode]
    jobs = {}
    with np.load(source) as data:
        for key in data.files:
            number, field = key.split("/", 1)
            jobs.setdefault(int(number), {})[field] = data[key]
    results = {}
    for number in sorted(jobs):
        work(number, jobs[number], results)
    np.savez(target, **results)


if __name__ == "__main__":
    main()
