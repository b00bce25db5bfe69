"""What Speck cannot hold is refused with its node, limit and mend, axis by axis; also what the vendor's Python side lets through."""

from __future__ import annotations

import nir
import numpy as np
import pytest

import nirhw
from tests.builders import DT, chain, cubalif, graph, li, lif, linear
from tests.targets.speck.test_lowering import SUBTRACT, assert_lowered, conv, kernel, neurons, out_shape


def refusal(net: nir.NIRGraph, **how) -> nirhw.NirhwError:
    with pytest.raises(nirhw.NirhwError) as failure:
        nirhw.compile(net, **(SUBTRACT | how))
    return failure.value


def one_layer(in_shape: tuple[int, ...], node: nir.NIRNode) -> nir.NIRGraph:
    out = out_shape(node)
    return chain(in_shape, out, conv=node, fire=neurons(*out))


#: what sinabs' Python side accepts without a word (facts of sinabs 3.1.3), and the text of our refusal
UNCHECKED = {
    "stride 3": ((1, 40, 40), conv(kernel(2, 1, 3, 3), (40, 40), stride=3), "stride 3 (axis y) is not one of 1, 2, 4, 8"),
    "stride 3 in x only": ((1, 40, 40), conv(kernel(2, 1, 3, 3), (40, 40), stride=(1, 3)), "stride 3 (axis x)"),
    "stride 16": ((1, 128, 128), conv(kernel(2, 1, 16, 16), (128, 128), stride=16), "stride 16 (axis y)"),
    "kernel 17": ((1, 40, 40), conv(kernel(2, 1, 17, 17), (40, 40)), "a kernel of 17 (axis y) is larger than 16"),
    "kernel 17 in x only": ((1, 40, 40), conv(kernel(2, 1, 3, 17), (40, 40)), "a kernel of 17 (axis x)"),
    "padding 9": ((1, 40, 40), conv(kernel(2, 1, 3, 3), (40, 40), padding=9), "padding 9 (axis y) is more than 7"),
    "padding 9 in x only": ((1, 40, 40), conv(kernel(2, 1, 3, 3), (40, 40), padding=(1, 9)), "padding 9 (axis x) is more than 7"),
    "dilation too wide": ((1, 40, 40), conv(kernel(2, 1, 3, 3), (40, 40), dilation=8), "a kernel of 17 (axis y)"),
    "map of 100 x 100": ((1, 100, 100), conv(kernel(2, 1, 3, 3), (100, 100), padding=1), "larger than 64x64"),
}


@pytest.mark.parametrize("name", UNCHECKED)
def test_geometries_beyond_a_core_are_refused_by_axis(name: str) -> None:
    in_shape, node, text = UNCHECKED[name]
    found = refusal(one_layer(in_shape, node))
    assert found.code == "NIRHW-E030" and text in str(found) and found.diagnostics[0].nodes == ("fire",)


def test_channels_and_input_sizes_are_counted() -> None:
    wide = refusal(one_layer((1, 4, 4), conv(kernel(2048, 1, 1, 1), (4, 4))))
    assert "2048 channels are needed" in str(wide) and "1024 too many" in str(wide)
    large = refusal(one_layer((1, 200, 200), conv(kernel(2, 1, 4, 4), (200, 200), stride=4)))
    text = str(large)
    assert "200 input rows" in text and "200 input columns" in text and "(72 too many)" in text
    assert {d.code for d in large.diagnostics} == {"NIRHW-E031"}
    tall = refusal(one_layer((1, 200, 100), conv(kernel(2, 1, 4, 4), (200, 100), stride=4)))
    assert "input rows" in str(tall) and "input columns" not in str(tall)


def test_dilation_and_groups_are_expanded_where_they_fit() -> None:
    """sinabs writes a dilated or grouped convolution as another one; here it is the same one."""
    for how in ({"dilation": 2}, {"groups": 2}):
        weight = kernel(4, 2 if "groups" in how else 4, 3, 3)
        model = nirhw.compile(one_layer((4, 10, 10), conv(weight, (10, 10), **how)), **SUBTRACT)
        assert_lowered(model, [("in", "fire")])


NEURONS = {
    "a leaky neuron": (lif(3), "the membrane leaks"),
    "a synaptic filter": (cubalif(3), "a synapse filters its current"),
    "an analog readout": (li(3), "an analog neuron stands where"),
}


@pytest.mark.parametrize("name", NEURONS)
def test_other_neurons_are_refused(name: str) -> None:
    node, text = NEURONS[name]
    found = refusal(chain(4, 3, dense=linear(3, 4), fire=node), dt=DT)
    assert found.code == "NIRHW-E030" and text in str(found)


def test_a_last_linear_layer_is_refused() -> None:
    found = refusal(chain(4, 3, dense=linear(5, 4), fire=neurons(5), tail=linear(3, 5)))
    assert "a weighted sum stands where" in str(found)


def test_recurrence_and_delays_are_refused() -> None:
    loop = graph(
        4,
        3,
        {"dense": linear(3, 4), "fire": neurons(3), "back": linear(3, 3)},
        [("in", "dense"), ("dense", "fire"), ("fire", "back"), ("back", "fire"), ("fire", "out")],
    )
    assert "recurrent" in str(refusal(loop)) and "deadlock" in str(refusal(loop))
    late = chain(
        4, 3, dense=linear(3, 4), fire0=neurons(3), late=nir.Delay(np.full(3, 2.0)), dense2=linear(3, 3), fire=neurons(3)
    )
    assert "has a delay" in str(refusal(late))


def test_an_input_that_is_an_output_is_refused() -> None:
    net = graph(4, 3, {"dense": linear(3, 4), "fire": neurons(3)}, [("in", "dense"), ("dense", "fire"), ("fire", "out")])
    net.nodes["echo"] = nir.Output({"output": np.array([4])})
    net.edges.append(("in", "echo"))
    assert refusal(net).code == "NIRHW-E030"


def test_thresholds_that_are_not_above_reset_are_refused() -> None:
    found = refusal(chain(4, 3, dense=linear(3, 4), fire=neurons(3, v_reset=1.0)), reset="value")
    assert "not above the reset potential" in str(found)


def test_weights_beyond_every_threshold_are_refused() -> None:
    found = refusal(chain(2, 1, dense=nir.Linear(np.array([[300.0, 1.0]])), fire=neurons(1)))
    assert found.code == "NIRHW-E034" and "300 thresholds" in str(found)


def test_branches_of_different_size_are_refused() -> None:
    nodes = {
        "a": conv(kernel(2, 1, 3, 3), (8, 8), padding=1), "fa": neurons(2, 8, 8),
        "b": conv(kernel(2, 1, 3, 3, seed=1), (8, 8)), "fb": neurons(2, 6, 6),
        "c": conv(kernel(2, 2, 3, 3, seed=2), (8, 8)), "d": conv(kernel(2, 2, 1, 1, seed=3), (6, 6)), "end": neurons(2, 6, 6),
    }  # fmt: skip
    edges = [
        ("in", "a"),
        ("in", "b"),
        ("a", "fa"),
        ("b", "fb"),
        ("fa", "c"),
        ("fb", "d"),
        ("c", "end"),
        ("d", "end"),
        ("end", "out"),
    ]
    assert "different sizes, 6x6 and 8x8" in str(refusal(graph((1, 8, 8), (2, 6, 6), nodes, edges)))


def sensor_network(channels: int = 2, side: int = 32) -> nir.NIRGraph:
    return one_layer((channels, side, side), conv(kernel(3, channels, 3, 3), (side, side), padding=1))


def test_the_sensor_can_be_the_input() -> None:
    options = {"input": "dvs", "dvs_pooling": 2, "dvs_left": 4, "dvs_top": 8, "dvs_mirror": "x", "dvs_swap": True}
    model = nirhw.compile(sensor_network(), **SUBTRACT, options=options)
    dvs = model.config.dvs_layer
    assert dvs.pass_sensor_events and not dvs.merge and (dvs.pooling.x, dvs.pooling.y) == (2, 2)
    assert (dvs.origin.x, dvs.origin.y, dvs.cut.x, dvs.cut.y) == (4, 8, 35, 39)
    assert (dvs.mirror.x, dvs.mirror.y, dvs.mirror_diagonal) == (True, False, True)
    assert [d.layer for d in dvs.destinations if d.enable] == [c for c, *_ in model.io_map["inputs"]["in"]["cores"]]
    assert nirhw.compile(sensor_network(1), **SUBTRACT, options={"input": "dvs"}).config.dvs_layer.merge


@pytest.mark.parametrize(
    ("net", "options", "text"),
    [
        (sensor_network(3), {}, "the sensor two polarities"),
        (sensor_network(), {"dvs_pooling": 4, "dvs_left": 1}, "columns 1 to 32 of the sensor are asked for, 32 exist"),
        (sensor_network(), {"dvs_top": 100}, "rows 100 to 131"),
    ],
)
def test_what_the_sensor_cannot_send_is_refused(net: nir.NIRGraph, options: dict, text: str) -> None:
    assert text in str(refusal(net, options={"input": "dvs"} | options))


def test_the_sensor_feeds_two_cores_at_most() -> None:
    names = [("a", 1), ("b", 2), ("c", 3)]
    nodes, edges = {}, []
    for name, seed in names:
        nodes |= {name: conv(kernel(2, 2, 3, 3, seed=seed), (32, 32), padding=1), f"f{name}": neurons(2, 32, 32)}
        nodes |= {f"j{name}": conv(kernel(2, 2, 1, 1, seed=seed), (32, 32))}
        edges += [("in", name), (name, f"f{name}"), (f"f{name}", f"j{name}"), (f"j{name}", "end")]
    net = graph((2, 32, 32), (2, 32, 32), {**nodes, "end": neurons(2, 32, 32)}, [*edges, ("end", "out")])
    assert_lowered(nirhw.compile(net, **SUBTRACT), [("in", "fa"), ("in", "fc"), ("fc", "end")])
    found = refusal(net, options={"input": "dvs"})
    assert found.code == "NIRHW-E035" and "destinations" in str(found)


def test_the_readout_spreads_its_classes() -> None:
    net = chain(20, 10, dense=linear(10, 20), fire=neurons(10))
    model = nirhw.compile(net, **SUBTRACT, options={"readout": True})
    core = next(c for c in model.config.cnn_layers if c.used)
    assert core.dimensions.output_shape.feature_count == 37 and model.config.readout.enable
    assert [d.layer for d in core.destinations if d.enable] == [12]
    assert not core.weights[np.arange(37) % 4 != 0].any() and core.weights[::4].any(axis=(1, 2, 3)).all()
    assert_lowered(model, [("in", "fire")])
    plain = nirhw.compile(net, **SUBTRACT)
    spikes = (np.random.default_rng(0).random((30, 20)) < 0.3).astype(np.int64)
    assert np.array_equal(model.emulate(spikes).spikes, plain.emulate(spikes).spikes)
    words = {m.report.data["resources"][1]["used"] for m in (model, plain)}
    assert words == {20 << 6, 20 << 4}, "spreading costs kernel memory"


def test_the_readout_takes_15_single_neurons() -> None:
    assert "16 readout classes are needed" in str(
        refusal(chain(4, 16, dense=linear(16, 4), fire=neurons(16)), options={"readout": True})
    )
    assert "takes single neurons as classes" in str(refusal(sensor_network(), options={"readout": True}))
