"""The emulator alone against the board: the Braille network with the vendor's parameters written out by hand, no lowering."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nirhw.targets.spinnaker2.config import NEVER_FIRES, RESET_VALUE, SPIKE_LIST, Slice, SpiNNaker2Configuration
from nirhw.targets.spinnaker2.emulator import Emulator
from nirhw.targets.spinnaker2.synapses import SynapseBlock
from tests.targets.spinnaker2 import slow_model
from tests.targets.spinnaker2.random_configs import slow_elements

DT = 1e-4


def dense(source: int, weight: np.ndarray) -> SynapseBlock:
    """Block of a matrix ``weight[post, pre]``."""
    post, pre = np.nonzero(weight)
    return SynapseBlock.from_synapses(source, weight.shape[1], pre, post, weight[post, pre])


def braille(path, slices: int) -> SpiNNaker2Configuration:
    """py-spinnaker2's NIR converter, forward Euler; hidden neurons on several PEs."""
    nir = pytest.importorskip("nir")
    nodes = nir.read(path).nodes
    lif, w_in, w_rec = nodes["lif1.lif"], nodes["fc1"], nodes["lif1.w_rec"]
    scale = 127 / max(np.abs(w_in.weight).max(), np.abs(w_rec.weight).max())
    inward, recurrent = (np.trunc(n.weight.astype(np.float64) * scale).astype(np.int64) for n in (w_in, w_rec))
    g_mem, g_syn = DT / lif.tau_mem.astype(np.float64), DT / lif.tau_syn.astype(np.float64)
    parameters = {
        "threshold": lif.v_threshold * scale / (g_mem * lif.r * g_syn * lif.w_in),
        "alpha_decay": 1 - g_mem,
        "i_offset": (w_in.bias.astype(np.float64) + w_rec.bias) * scale / g_syn,
        "v_init": np.zeros(38),
        "v_reset": np.zeros(38),
        "exc_decay": 1 - g_syn,
        "inh_decay": 1 - g_syn,
        "t_refrac": np.zeros(38),
    }
    cuts = np.array_split(np.arange(38), slices)
    parts = [Slice("input", 0, 12, SPIKE_LIST, key=0, mask=0xFFFFFFC0)]
    for number, cut in enumerate(cuts):
        blocks = [dense(0, inward[cut])] + [dense(1 + j, recurrent[np.ix_(cut, other)]) for j, other in enumerate(cuts)]
        chosen = {k: np.broadcast_to(v, 38)[cut] for k, v in parameters.items()}
        where = {"key": 64 * (number + 1), "mask": 0xFFFFFFC0}
        parts.append(
            Slice("lif1", int(cut[0]), cut.size, "lif_curr_exp_no_delay", chosen, RESET_VALUE, blocks=tuple(blocks), **where)
        )
    return SpiNNaker2Configuration(tuple(parts))


@pytest.mark.parametrize(("slices", "fused"), [(1, False), (1, True), (5, False)])
def test_hidden_layer_equals_the_board_in_every_cell(zoo, shared, slices, fused):
    config = braille(zoo("repo_braille_noDelay_bias_zero"), slices)
    spikes = np.load(shared / "data" / "braille_test0_input.npy")
    board = np.load(shared / "data" / "spinnaker2_board_braille_zero.npy")
    trace = Emulator(config, fused=fused).prepare(spikes[None], record={"spikes"}, neurons=np.arange(12, 50)).run()
    assert board.size == 9728
    assert int((trace.spikes[0] != board).sum()) == 0


def test_the_slow_model_equals_the_board_too(zoo, shared):
    config = braille(zoo("repo_braille_noDelay_bias_zero"), 1)
    spikes = np.load(shared / "data" / "braille_test0_input.npy")
    elements = slow_elements(config, spikes)
    slow_model.run(elements, len(spikes))
    board = np.load(shared / "data" / "spinnaker2_board_braille_zero.npy")
    assert np.array_equal(np.array(elements[1].history["spikes"], np.uint8), board)


def test_the_board_tells_the_semantics_apart(zoo, shared):
    """The raster is a witness only if a model that is slightly wrong misses it."""
    config = braille(zoo("repo_braille_noDelay_bias_zero"), 1)
    spikes = np.load(shared / "data" / "braille_test0_input.npy")
    board = np.load(shared / "data" / "spinnaker2_board_braille_zero.npy")

    def wrong(changed: SpiNNaker2Configuration, given=spikes) -> int:
        trace = Emulator(changed).prepare(given[None], record={"spikes"}, neurons=np.arange(12, 50)).run()
        return int((trace.spikes[0] != board).sum())

    source, hidden = config.slices
    assert wrong(replace(config, slices=(source, replace(hidden, reset="reset_by_subtraction")))) == 114
    assert wrong(config, np.concatenate([spikes[1:], spikes[:1] * 0])) == 168  # one step early
    assert wrong(config, np.concatenate([spikes[:1] * 0, spikes[:-1]])) == 167  # one step late
    silent = replace(hidden, parameters={**hidden.parameters, "threshold": np.full(38, NEVER_FIRES)})
    assert wrong(replace(config, slices=(source, silent))) == 119
