"""The measured board: hidden spikes of the NIR paper's Braille network, under the parameters of py-spinnaker2's converter."""

from __future__ import annotations

import numpy as np

import nirhw

VENDOR = {"conversion": "vendor"}


def test_the_braille_raster_is_the_board_s_in_every_cell(shared, zoo):
    """Rows as they come: input row t acts in step t + 1 on the board, too."""
    measured = np.load(shared / "data" / "spinnaker2_board_braille_zero.npy")
    sample = np.load(shared / "data" / "braille_test0_input.npy")
    model = nirhw.compile(zoo("repo_braille_noDelay_bias_zero"), "spinnaker2", dt=1e-4, reset="zero", options=VENDOR)
    spikes = model.emulate(sample, record=["lif1.lif"]).states["lif1.lif"]["spikes"]
    assert spikes.shape == measured.shape and measured.size == 9728 and measured.sum() == 119
    assert np.count_nonzero(spikes != measured) == 0


def test_rounding_or_other_scales_break_the_match(shared, zoo):
    """What the raster can tell: truncation of the weights and the scale by the largest one are the board's, no others."""
    measured = np.load(shared / "data" / "spinnaker2_board_braille_zero.npy")
    sample = np.load(shared / "data" / "braille_test0_input.npy")
    for changed in ({"rounding": "nearest"}, {"application": "delay"}, {"scaling": "percentile"}):
        model = nirhw.compile(
            zoo("repo_braille_noDelay_bias_zero"), "spinnaker2", dt=1e-4, reset="zero", options={**VENDOR, **changed}
        )
        spikes = model.emulate(sample, record=["lif1.lif"]).states["lif1.lif"]["spikes"]
        assert np.count_nonzero(spikes != measured) > 20, changed


def test_max_scaling_zeroes_the_known_share(zoo):
    model = nirhw.compile(zoo("repo_braille_noDelay_bias_zero"), "spinnaker2", dt=1e-4, reset="zero", options=VENDOR)
    zeroed = {"+".join(row["nodes"]): row["zeroed"] for row in model.report.data["tensors"]}
    assert round(zeroed["fc1"], 2) == 0.17 and round(zeroed["lif1.w_rec"], 2) == 0.53
