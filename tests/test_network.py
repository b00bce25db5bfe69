"""``Network.verify`` notices every broken rule of the IR."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from nirhw.diagnostics import MeaningError
from nirhw.network import Membrane, Network, Population, Port, Projection
from nirhw.operators import Dense, Reshape, frozen


def ones(size: int, value: float = 1.0) -> np.ndarray:
    return frozen(np.full(size, value))


def neurons(name: str, size: int = 2, rule: str = "spiking") -> Population:
    port = Port("in", ones(size), ones(size, 0), decay=ones(size, 0.5), tau=ones(size))
    membrane = Membrane(ones(size, 0.5), ones(size), ones(size, 0), ones(size))
    spiking = rule == "spiking"
    return Population(
        name,
        (size,),
        rule,  # type: ignore[arg-type]
        "spike" if spiking else "analog",
        (port,),
        None if rule == "sum" else membrane,
        ones(size) if spiking else None,
        ones(size, 0) if spiking else None,
        "value" if spiking else "none",
    )


def steps(*values: int) -> np.ndarray:
    return frozen(np.array(values), np.int64)


def legal() -> Network:
    """Return a network with an input, two spiking populations, one of them recurrent, an analog one and a sum."""
    populations = [
        Population("in", (3,), "input", "spike"),
        neurons("a"),
        neurons("b", 3),
        neurons("c", 2, "analog"),
        neurons("d", 2, "sum"),
    ]
    weight = Dense((3,), (2,), weight=frozen(np.ones((2, 3))))
    back = Dense((3,), (3,), weight=frozen(np.eye(3)))
    same = Reshape((2,), (2,))
    projections = (
        Projection("in->a", "in", "a", "in", weight),
        Projection("in->b", "in", "b", "in", Reshape((3,), (3,)), steps(0, 1, 2), "source"),
        Projection("b->b", "b", "b", "in", back, frozen(np.array(1), np.int64), recurrent=True),
        Projection("a->c", "a", "c", "in", same, steps(0, 3), "target"),
        Projection("c->d", "c", "d", "in", same),
    )
    return Network(
        {p.name: p for p in populations},
        projections,
        {"in": "in"},
        {"out": "a", "sum": "d"},
        {"out": (2,), "sum": (2,)},
        1e-3,
        "euler",
    )


def with_population(name: str, change: Callable[[Population], Population]) -> Network:
    net = legal()
    return replace(net, populations={**net.populations, name: change(net.populations[name])})


def with_projection(name: str, **change: object) -> Network:
    net = legal()
    return replace(net, projections=tuple(replace(p, **change) if p.name == name else p for p in net.projections))  # type: ignore[arg-type]


def with_membrane(**change: np.ndarray) -> Network:
    return with_population("a", lambda p: replace(p, membrane=replace(p.membrane, **change)))  # type: ignore[type-var]


def with_port(**change: object) -> Network:
    return with_population("a", lambda p: p.with_port(replace(p.ports[0], **change)))  # type: ignore[arg-type]


def test_a_legal_network_passes() -> None:
    legal().verify()


BROKEN: dict[str, tuple[Callable[[], Network], str]] = {
    "filed under another name": (lambda: with_population("a", lambda p: replace(p, name="z")), "another name"),
    "projection from nowhere": (lambda: with_projection("in->a", source="z"), "does not exist"),
    "projection to nowhere": (lambda: with_projection("in->a", target="z"), "does not exist"),
    "unknown port": (lambda: with_projection("in->a", port="syn"), "no port"),
    "operator of another source size": (lambda: with_projection("a->c", operator=Reshape((3,), (3,))), "does not fit"),
    "operator of another target size": (lambda: with_projection("in->a", operator=Reshape((3,), (3,))), "does not fit"),
    "negative delay": (lambda: with_projection("in->a", delay=frozen(np.array(-1), np.int64)), "delay has"),
    "delay by source of another size": (lambda: with_projection("in->b", delay=steps(0, 1)), "delay has"),
    "delay by target of another size": (lambda: with_projection("a->c", delay=steps(0, 1, 2)), "delay has"),
    "uniform delay as a vector": (lambda: with_projection("in->a", delay=steps(1)), "delay has"),
    "delay of floats": (lambda: with_projection("in->a", delay=frozen(np.array(1.0))), "delay has"),
    "undelayed self-loop": (lambda: with_projection("b->b", delay=frozen(np.array(0), np.int64)), "against the order"),
    "undelayed edge backwards": (lambda: with_projection("c->d", source="d", target="c"), "against the order"),
    "input that does not exist": (lambda: replace(legal(), inputs={"in": "z"}), "input is served by"),
    "output that does not exist": (lambda: replace(legal(), outputs={"out": "z"}), "output is served by"),
    "dt of 0": (lambda: replace(legal(), dt=0.0), "dt is not positive"),
    "dt of NaN": (lambda: replace(legal(), dt=float("nan")), "dt is not positive"),
    "threshold of another size": (lambda: with_population("a", lambda p: replace(p, threshold=ones(3))), "threshold"),
    "writeable threshold": (lambda: with_population("a", lambda p: replace(p, threshold=np.ones(2))), "threshold"),
    "v_reset of another size": (lambda: with_population("a", lambda p: replace(p, v_reset=ones(3))), "v_reset"),
    "membrane decay of another size": (lambda: with_membrane(decay=ones(3)), "membrane decay"),
    "membrane gain of another size": (lambda: with_membrane(gain=ones(1)), "membrane gain"),
    "writeable leak": (lambda: with_membrane(leak=np.zeros(2)), "membrane leak"),
    "membrane tau of another size": (lambda: with_membrane(tau=ones(3)), "membrane tau"),
    "port gain of another size": (lambda: with_port(gain=ones(3)), "in gain"),
    "port bias of another size": (lambda: with_port(bias=ones(3)), "in bias"),
    "writeable port decay": (lambda: with_port(decay=np.ones(2)), "in decay"),
    "port tau of another size": (lambda: with_port(tau=ones(3)), "in tau"),
    "spiking without a threshold": (lambda: with_population("a", lambda p: replace(p, threshold=None)), "has a threshold"),
    "analog with a threshold": (lambda: with_population("c", lambda p: replace(p, threshold=ones(2))), "has a threshold"),
    "spiking without a membrane": (lambda: with_population("a", lambda p: replace(p, membrane=None)), "have a membrane"),
    "analog without a membrane": (lambda: with_population("c", lambda p: replace(p, membrane=None)), "have a membrane"),
    "sum with a membrane": (
        lambda: with_population("d", lambda p: replace(p, membrane=legal().populations["a"].membrane)),
        "have a membrane",
    ),
    "input with ports": (
        lambda: with_population("in", lambda p: replace(p, ports=(Port("in", ones(3), ones(3)),))),
        "inputs have no ports",
    ),
    "neurons without ports": (lambda: with_population("b", lambda p: replace(p, ports=())), "inputs have no ports"),
    "no spike a step": (lambda: with_population("a", lambda p: replace(p, burst=0)), "several spikes a step"),
    "more spikes than rasters hold": (lambda: with_population("a", lambda p: replace(p, burst=256)), "several spikes a step"),
    "several spikes of an input": (lambda: with_population("in", lambda p: replace(p, burst=2)), "several spikes a step"),
    "several spikes over a negative threshold": (
        lambda: with_population("a", lambda p: replace(p, burst=2, threshold=frozen(-ones(3)))),
        "several spikes a step",
    ),
    "two ports of one name": (lambda: with_population("a", lambda p: replace(p, ports=p.ports * 2)), "share a name"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_verify_notices(name: str) -> None:
    make, text = BROKEN[name]
    with pytest.raises(MeaningError) as caught:
        make().verify()
    assert {d.code for d in caught.value.diagnostics} == {"NIRHW-E024"}
    assert text in str(caught.value)


def test_verify_tells_all_at_once() -> None:
    net = replace(with_membrane(decay=ones(3)), dt=-1.0, outputs={"out": "z"})
    with pytest.raises(MeaningError) as caught:
        net.verify()
    assert len(caught.value.diagnostics) == 3


def test_a_delayed_edge_may_run_backwards() -> None:
    with_projection("b->b", delay=frozen(np.array(4), np.int64)).verify()
    with_projection("a->c", source="c", target="a", delay=steps(1, 1)).verify()


def test_networks_are_immutable() -> None:
    net = legal()
    with pytest.raises(FrozenInstanceError):
        net.dt = 2.0  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        net.populations["a"].threshold[0] = 2  # type: ignore[index]


def test_into_and_out_of() -> None:
    net = legal()
    assert [p.name for p in net.into("b")] == ["in->b", "b->b"]
    assert [p.name for p in net.out_of("in")] == ["in->a", "in->b"]
    assert (net.projections[1].min_delay, net.projections[1].max_delay) == (0, 2)
