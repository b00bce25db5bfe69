"""Runs xylosim on configurations from an .npz file; started by the oracle environment's Python, which lacks nirhw.

    python xylosim_worker.py states inputs.npz outputs.npz
    python xylosim_worker.py time inputs.npz outputs.npz

Job ``k`` reads ``k/<field>`` (arrays named as in :func:`random_xylo.job`) and ``k/counts0``, ``k/counts1``, ...
(``[time, channel]``), which it evolves one after the other with the state carried over.  ``states`` writes
``k/<call>/<state>`` as ``[time, neuron]``; ``time`` writes the output spikes of the last call and ``k/seconds``, the
wall times of ``evolve`` alone.
"""

import sys
import time

import numpy as np
from xylosim.v2 import XyloLayer, XyloSynapse

# xylosim's names; it keeps these by neuron and time, and rec_recurrent_spikes by time and neuron
RECORDS = {
    "v": "rec_v_mem",
    "i": "rec_i_syn",
    "i2": "rec_i_syn2",
    "v_out": "rec_v_mem_out",
    "i_out": "rec_i_syn_out",
}


def synapses(n_rows, first_row, *matrices):
    """One list of synapses for each pre-synaptic unit; matrix ``k`` belongs to synapse ``k``, rows start at a unit."""
    rows = [[] for _ in range(n_rows)]
    for index, matrix in enumerate(matrices):
        for pre, post in zip(*np.nonzero(matrix), strict=True):
            rows[first_row + int(pre)].append(XyloSynapse(int(post), index, int(matrix[pre, post])))
    return rows


def build(job):
    """Return a layer and the lists it reads: they must outlive it, else evolve was seen to crash."""
    n_in, n_hid = len(job["w_in"]), len(job["w_rec"])
    two = bool(job["synapse2"])
    w_in = (job["w_in"], job["w_in2"])[: 1 + two]
    w_rec = (job["w_rec"], job["w_rec2"])[: 1 + two]
    dashes = (job["dash_syn"], job["dash_syn2"])[: 1 + two]
    arguments = {
        "synapses_in": synapses(n_in, 0, *w_in),
        "synapses_rec": synapses(n_hid, 0, *w_rec),
        "synapses_out": synapses(n_hid, n_hid - len(job["w_out"]), job["w_out"]),
        "aliases": [[target] if target >= 0 else [] for target in job["alias"].tolist()],
        "threshold": job["threshold"].tolist(),
        "threshold_out": job["threshold_out"].tolist(),
        "has_bias": bool(job["has_bias"]),
        "bias": job["bias"].tolist(),
        "bias_out": job["bias_out"].tolist(),
        "weight_shift_inp": int(job["shifts"][0]),
        "weight_shift_rec": int(job["shifts"][1]),
        "weight_shift_out": int(job["shifts"][2]),
        "dash_mem": job["dash_mem"].tolist(),
        "dash_mem_out": job["dash_mem_out"].tolist(),
        "dash_syns": np.stack(dashes, axis=1).tolist(),
        "dash_syns_out": [[dash] for dash in job["dash_syn_out"].tolist()],
        "name": "oracle",
    }
    return XyloLayer(**arguments), arguments


def record_states(name, job, results):
    """Evolve all calls and keep every state of every step."""
    layer, _kept_alive = build(job)
    n_out = len(job["threshold_out"])
    for call, counts in enumerate(calls(job)):
        out = np.asarray(layer.evolve(counts)).reshape(len(counts), n_out)
        results[f"{name}/{call}/out_spikes"] = out.astype(np.int64)
        results[f"{name}/{call}/hidden_spikes"] = np.asarray(layer.rec_recurrent_spikes, dtype=np.int64)
        for state, attribute in RECORDS.items():
            results[f"{name}/{call}/{state}"] = np.asarray(getattr(layer, attribute), dtype=np.int64).T


def measure(name, job, results):
    """Time evolve from a cleared state, once for each call."""
    layer, _kept_alive = build(job)
    seconds = []
    for counts in calls(job):
        layer.reset_all()
        start = time.perf_counter()
        out = layer.evolve(counts)
        seconds.append(time.perf_counter() - start)
    results[f"{name}/out_spikes"] = np.asarray(out, dtype=np.int64)
    results[f"{name}/seconds"] = np.asarray(seconds)


def calls(job):
    """Input of each call as nested lists of plain integers."""
    count = sum(field.startswith("counts") for field in job)
    return [job[f"counts{k}"].tolist() for k in range(count)]


def main():
    """Run all jobs of a file."""
    mode, source, target = sys.argv[1:]
    work = {"states": record_states, "time": measure}[mode]
    jobs = {}
    with np.load(source) as data:
        for key in data.files:
            name, field = key.split("/")
            jobs.setdefault(name, {})[field] = data[key]
    results = {}
    for name, job in jobs.items():
        work(name, job, results)
    np.savez(target, **results)


if __name__ == "__main__":
    main()
