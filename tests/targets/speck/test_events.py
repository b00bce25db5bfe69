"""Events with time stamps: through the emulator, the sensor layer and the command line, and from files."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import nirhw
from nirhw.cli import app
from nirhw.diagnostics import InputError, NirhwError
from nirhw.emulation.events import Events
from nirhw.event_files import read_events
from nirhw.targets.speck.config import DvsLayerConfig, SpeckConfiguration, Vec2, Vec2Flag
from nirhw.targets.speck.device import SpeckDevice
from nirhw.targets.speck.sensor import through_sensor_layer
from tests import builders as b
from tests.targets.speck.random_chips import chip_of, core_of, shape, to

PLANE = (2, 5, 6)


def entry_of(config: SpeckConfiguration, core: int) -> dict[str, Any]:
    size = config.cnn_layers[core].dimensions.output_shape
    full = [size.feature_count, size.size.y, size.size.x]
    return {"shape": full, "lag": 0, "kind": "spikes", "slices": [{"core": core, "index": np.arange(int(np.prod(full)))}]}


def two_layers(leak: bool = False) -> SpeckConfiguration:
    rng = np.random.default_rng(1)
    more = {"leak_enable": True, "biases": np.array([3, -2, 5], np.int8)} if leak else {}
    first = core_of(rng.integers(-40, 90, (3, 2, 3, 3)), shape(*PLANE), padding=(1, 1), to=(to(1, 2),), **more)
    second = core_of(rng.integers(-40, 127, (4, 3, 2, 2)), shape(3, 2, 3), monitor_enable=True)
    return chip_of(first, second)


def device_of(config: SpeckConfiguration, **more: Any) -> SpeckDevice:
    used = [k for k, core in enumerate(config.cnn_layers) if core.used]
    io_map = {
        "dt": 1e-3,
        "input_peak": None,
        "order": "feature",
        "seed": 0,
        "tick_rows": 0,
        "inputs": {"in": {"shape": list(PLANE), "plane": list(PLANE), "cores": [[0, 0, 1]], "dvs": False}},
        "outputs": {"out": entry_of(config, used[-1])},
        "populations": {f"if{k}": entry_of(config, k) for k in used},
    }
    return SpeckDevice(config, {**io_map, **more})


def random_events(n: int, seed: int = 0, last: int = 40_000) -> Events:
    rng = np.random.default_rng(seed)
    return Events(np.sort(rng.integers(0, last, n)), rng.integers(0, int(np.prod(PLANE)), n), PLANE, last)


def frames_of(events: Events, step: int) -> np.ndarray:
    frames = np.zeros((1, events.length // step, int(np.prod(PLANE))), np.int64)
    np.add.at(frames[0], (events.time // step, events.address), 1)
    return frames


@pytest.mark.parametrize("leak", [False, True])
def test_events_in_the_order_of_frames_give_the_frames_result(leak: bool) -> None:
    config = two_layers(leak)
    device = device_of(config, tick_rows=2 if leak else 0)
    drawn = random_events(300)
    order = np.lexsort((drawn.address, drawn.time // 1000))
    events = Events(np.sort(drawn.time), drawn.address[order], PLANE, drawn.duration)
    timed = device.run_events({"in": events}, ["if0"])
    framed = device.prepare({"in": frames_of(events, 1000)}, {"if0": "if0"}).run()
    np.testing.assert_array_equal(timed.state.v, framed.state.v)
    np.testing.assert_array_equal(timed.counts, framed.spikes[0].sum(axis=0))
    np.testing.assert_array_equal(timed.states["if0"]["counts"], framed.states["if0"]["spikes"][0].sum(axis=0))
    # a spike carries the time of the event that caused it, so it falls into that event's frame
    binned = np.zeros((40, 4, 1, 2), np.int64)
    np.add.at(binned.reshape(40, -1), (timed.events.time // 1000, timed.events.address), 1)
    np.testing.assert_array_equal(binned, framed.spikes[0])
    assert timed.events.number > 10


def test_the_order_of_arrival_is_kept_and_matters() -> None:
    weights = np.array([60, -60]).reshape(1, 2, 1, 1)
    config = chip_of(core_of(weights, shape(*PLANE), threshold=50, low=-20))
    device = device_of(config)
    up, down = 0, 30
    spikes = [
        int(device.run_events({"in": Events(np.zeros(2, int), np.array(pair), PLANE)}).counts.sum())
        for pair in ((up, down), (down, up))
    ]
    assert spikes == [1, 0]


def test_a_stream_of_events_or_of_rows_may_be_continued() -> None:
    device = device_of(two_layers(leak=True), tick_rows=3)
    frames = frames_of(random_events(400), 1000)
    whole = device.prepare({"in": frames}, {"if0": "if0"}).run()
    first = device.prepare({"in": frames[:, :7]}, {"if0": "if0"}).run()
    rest = device.prepare({"in": frames[:, 7:]}, {"if0": "if0"}, state=first.state).run()
    for part in ("spikes", "v"):
        joined = np.concatenate([first.states["if0"][part], rest.states["if0"][part]], axis=1)
        np.testing.assert_array_equal(joined, whole.states["if0"][part])
    quiet = device_of(two_layers())
    events = random_events(200)
    half = int(events.time[100])
    early, late = (np.flatnonzero(side) for side in (events.time < half, events.time >= half))
    one = quiet.run_events({"in": Events(events.time[early], events.address[early], PLANE)})
    two = quiet.run_events({"in": Events(events.time[late], events.address[late], PLANE)}, state=one.state)
    np.testing.assert_array_equal(one.counts + two.counts, quiet.run_events({"in": events}).counts)


def test_rows_with_several_samples_are_independent() -> None:
    device = device_of(two_layers())
    frames = np.concatenate([frames_of(random_events(n, n), 1000) for n in (10, 200, 90)])
    together = device.prepare({"in": frames}, {"if0": "if0", "if1": "if1"}).run(2)
    for k in range(3):
        alone = device.prepare({"in": frames[k : k + 1]}, {"if0": "if0"}).run()
        np.testing.assert_array_equal(alone.spikes[0], together.spikes[k])
        np.testing.assert_array_equal(alone.states["if0"]["v"][0], together.states["if0"]["v"][k])
        assert alone.counters["updates"].sum() == together.counters["updates"][k].sum()
    np.testing.assert_array_equal(together.states["if1"]["spikes"], together.spikes)


def test_a_count_is_so_many_events_and_the_membrane_is_that_at_the_end_of_the_row() -> None:
    config = chip_of(core_of(np.array([7, 100]).reshape(1, 2, 1, 1), shape(*PLANE), threshold=100))
    frames = np.zeros((1, 3, 60), np.int64)
    frames[0, 0, 4], frames[0, 2, 4], frames[0, 2, 34] = 3, 2, 2
    run = device_of(config).prepare({"in": frames}, {"if0": "if0"}).run()
    assert run.states["if0"]["v"][0, :, 0, 0, 4].tolist() == [21, 21, 35]
    assert run.spikes[0, :, 0, 0, 4].tolist() == [0, 0, 2]


def test_a_population_on_several_cores_is_put_together() -> None:
    # one layer of four features, split by features: core 0 has features 2 and 0, core 1 features 3 and 1
    weights = np.array([10, 20, 30, 40]).reshape(4, 1, 1, 1).repeat(2, axis=1)
    config = chip_of(*(core_of(weights[part], shape(*PLANE), threshold=1000) for part in ([2, 0], [3, 1])))
    pixels = np.arange(30)
    slices = [
        {"core": core, "index": np.concatenate([30 * f + pixels for f in part])} for core, part in ((0, [2, 0]), (1, [3, 1]))
    ]
    entry = {"shape": [4, 5, 6], "lag": 0, "kind": "spikes", "slices": slices}
    device = device_of(
        config,
        inputs={"in": {"shape": list(PLANE), "plane": list(PLANE), "cores": [[0, 0, 1], [1, 0, 1]], "dvs": False}},
        outputs={"out": entry},
        populations={"if": entry},
    )
    frames = np.zeros((1, 1, 60), np.int64)
    frames[0, 0, 8] = 1
    assert device.prepare({"in": frames}, {"if": "if"}).run().states["if"]["v"][0, 0, :, 1, 2].tolist() == [10, 20, 30, 40]


def test_shuffled_input_is_another_order_of_the_same_events_and_depends_on_the_row_alone() -> None:
    config = two_layers()
    frames = np.concatenate([frames_of(random_events(900, k), 4000) for k in range(2)])
    fixed = device_of(config).prepare({"in": frames}).run()
    mixed = device_of(config, input_order="shuffled", seed=4)
    shuffled = mixed.prepare({"in": frames}).run()
    assert shuffled.counters["events"][:, 0].tolist() == fixed.counters["events"][:, 0].tolist()
    assert not np.array_equal(shuffled.spikes, fixed.spikes)
    first = mixed.prepare({"in": frames[:, :4]}).run()
    rest = mixed.prepare({"in": frames[:, 4:]}, state=first.state).run()
    np.testing.assert_array_equal(np.concatenate([first.spikes, rest.spikes], axis=1), shuffled.spikes)


def test_rates_are_per_second_of_the_recording() -> None:
    run = device_of(two_layers()).run_events({"in": random_events(300)})
    assert run.duration == 40_000
    assert run.event_rates[0] == pytest.approx(300 / 0.04)
    np.testing.assert_allclose(run.synaptic_rates, run.cores["updates"] / 0.04)
    empty = device_of(two_layers()).run_events({"in": Events(np.zeros(0, int), np.zeros(0, int), PLANE)})
    assert np.isnan(empty.event_rates).all()
    assert empty.to_dict()["rates"]["event_rate"] == [None] * 9


SENSOR = (2, 128, 128)


def sensor_events(*pixels: tuple[int, int, int]) -> Events:
    p, y, x = np.array(pixels).T
    return Events.of_pixels(np.arange(len(pixels)), p, y, x, SENSOR, sensor=True)


def passed(layer: DvsLayerConfig, *pixels: tuple[int, int, int]) -> list[tuple[int, int, int, int]]:
    packed, _ = through_sensor_layer(sensor_events(*pixels), layer, "in")
    return [(p >> 48, (p >> 32) & 0xFFFF, (p >> 16) & 0xFFFF, p & 0xFFFF) for p in packed.tolist()]


def layer_with(**more: Any) -> DvsLayerConfig:
    return DvsLayerConfig(destinations=(to(3), to(5, 1, 2)), **{"origin": Vec2(10, 20), "cut": Vec2(13, 25), **more})


@pytest.mark.parametrize(
    ("layer", "pixel", "arrives"),
    [
        (layer_with(), (1, 20, 10), [(3, 1, 0, 0), (5, 3, 0, 0)]),
        (layer_with(), (0, 25, 13), [(3, 0, 5, 3), (5, 2, 5, 3)]),
        (layer_with(), (0, 26, 13), []),
        (layer_with(), (0, 19, 13), []),
        (layer_with(), (0, 22, 14), []),
        (layer_with(), (0, 22, 9), []),
        (layer_with(merge=True), (1, 21, 12), [(3, 0, 1, 2), (5, 2, 1, 2)]),
        (layer_with(on_channel=False), (1, 21, 12), []),
        (layer_with(off_channel=False), (0, 21, 12), []),
        (layer_with(off_channel=False), (1, 21, 12), [(3, 1, 1, 2), (5, 3, 1, 2)]),
        (layer_with(pooling=Vec2(4, 2)), (0, 43, 43), [(3, 0, 1, 0), (5, 2, 1, 0)]),
        (layer_with(mirror=Vec2Flag(True, False)), (0, 21, 10), [(3, 0, 1, 3), (5, 2, 1, 3)]),
        (layer_with(mirror=Vec2Flag(False, True)), (0, 21, 10), [(3, 0, 4, 0), (5, 2, 4, 0)]),
        (layer_with(mirror_diagonal=True), (0, 21, 13), [(3, 0, 3, 1), (5, 2, 3, 1)]),
        (layer_with(mirror=Vec2Flag(True, False), mirror_diagonal=True), (0, 21, 10), [(3, 0, 3, 1), (5, 2, 3, 1)]),
    ],
)
def test_the_sensor_layer_pools_crops_and_turns(
    layer: DvsLayerConfig, pixel: tuple[int, int, int], arrives: list[tuple[int, int, int, int]]
) -> None:
    assert passed(layer, pixel) == arrives


def test_sensor_events_run_where_the_input_is_the_sensor_and_are_refused_elsewhere() -> None:
    config = two_layers()
    dvs = DvsLayerConfig(origin=Vec2(2, 3), cut=Vec2(7, 7), destinations=(to(0), DvsLayerConfig().destinations[1]))
    config = SpeckConfiguration(config.module, config.cnn_layers, dvs)
    entry = {"shape": list(PLANE), "plane": list(PLANE), "cores": [[0, 0, 1]], "dvs": True}
    events = random_events(200)
    channel, y, x = np.unravel_index(events.address, PLANE)
    raw = Events.of_pixels(events.time, channel, y + 3, x + 2, SENSOR, sensor=True)
    device = device_of(config, inputs={"in": entry})
    np.testing.assert_array_equal(device.run_events({"in": raw}).counts, device.run_events({"in": events}).counts)
    with pytest.raises(InputError, match="not the chip's sensor"):
        device_of(two_layers()).run_events({"in": raw})


@pytest.mark.parametrize(
    ("time", "address", "more", "code"),
    [
        ([0, 1], [0], {}, "NIRHW-E050"),
        ([0], [60], {}, "NIRHW-E050"),
        ([0], [-1], {}, "NIRHW-E050"),
        ([[0]], [[0]], {}, "NIRHW-E050"),
        ([0.5], [0], {}, "NIRHW-E051"),
        ([-1], [0], {}, "NIRHW-E051"),
        ([1 << 60], [0], {}, "NIRHW-E051"),
        ([5, 4], [0, 0], {}, "NIRHW-E051"),
        ([5], [0], {"duration": 5}, "NIRHW-E051"),
        (["a"], [0], {}, "NIRHW-E051"),
        (np.array([1 << 63], np.uint64), [0], {}, "NIRHW-E051"),
    ],
)
def test_what_is_no_stream_of_events_is_refused(time: Any, address: Any, more: dict[str, int], code: str) -> None:
    with pytest.raises(InputError) as caught:
        Events(np.asarray(time), np.asarray(address), PLANE, **more)
    assert caught.value.diagnostics[0].code == code


@pytest.mark.parametrize(("column", "value"), [("channel", 2), ("y", 5), ("x", 6), ("x", -1)])
def test_pixels_outside_the_plane_are_named(column: str, value: int) -> None:
    columns: dict[str, Any] = {"channel": [0], "y": [0], "x": [0], column: [value]}
    with pytest.raises(InputError, match=column):
        Events.of_pixels([0], **columns, shape=PLANE)


# -- files

IO_MAP: dict[str, Any] = {"inputs": {"in": {"shape": list(PLANE), "plane": list(PLANE)}}}


def columns_of(n: int = 50) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    return {
        "t": np.sort(rng.integers(0, 1 << 22, n)),
        "p": rng.integers(0, 2, n),
        "y": rng.integers(0, 5, n),
        "x": rng.integers(0, 6, n),
    }


def write_npz(path: Path, c: dict[str, np.ndarray]) -> None:
    np.savez(path, **c)


def write_flat(path: Path, c: dict[str, np.ndarray]) -> None:
    np.savez(path, t=c["t"], address=(c["p"] * 5 + c["y"]) * 6 + c["x"])


def write_csv(path: Path, c: dict[str, np.ndarray]) -> None:
    rows = zip(*(c[k].tolist() for k in ("x", "t", "y", "p")), strict=True)
    path.write_text("x,t_us,y,p\n" + "".join(f"{x}, {t},{y},{p}\n" for x, t, y, p in rows))


def write_bin(path: Path, c: dict[str, np.ndarray]) -> None:
    rows = [c["x"], c["y"], (c["p"] << 7) | (c["t"] >> 16), (c["t"] >> 8) & 255, c["t"] & 255]
    path.write_bytes(np.stack(rows, axis=1).astype(np.uint8).tobytes())


@pytest.mark.parametrize(
    ("name", "write"), [("a.npz", write_npz), ("b.npz", write_flat), ("c.csv", write_csv), ("d.bin", write_bin)]
)
def test_every_kind_of_file_gives_the_same_events(
    tmp_path: Path, name: str, write: Callable[[Path, dict[str, np.ndarray]], None]
) -> None:
    c = columns_of()
    write(tmp_path / name, c)
    events = read_events(tmp_path / name, IO_MAP)
    assert events is not None
    np.testing.assert_array_equal(events.time, c["t"])
    np.testing.assert_array_equal(events.address, (c["p"] * 5 + c["y"]) * 6 + c["x"])


def test_a_plane_of_one_channel_takes_both_polarities(tmp_path: Path) -> None:
    c = columns_of()
    write_bin(tmp_path / "a.bin", c)
    events = read_events(tmp_path / "a.bin", {"inputs": {"in": {"shape": [1, 5, 6], "plane": [1, 5, 6]}}})
    assert events is not None
    np.testing.assert_array_equal(events.address, c["y"] * 6 + c["x"])


def test_a_recording_passes_the_sensor_layer_where_the_input_is_the_sensor(tmp_path: Path) -> None:
    c = columns_of()
    write_bin(tmp_path / "a.bin", {**c, "x": c["x"] + 100})
    events = read_events(tmp_path / "a.bin", {"inputs": {"in": {**IO_MAP["inputs"]["in"], "dvs": True}}})
    assert events is not None
    assert (events.shape, events.sensor) == (SENSOR, True)
    np.testing.assert_array_equal(events.address, (c["p"] * 128 + c["y"]) * 128 + c["x"] + 100)


def test_npz_says_how_long_it_is_and_whether_it_is_the_sensors(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", t=[3], x=[100], y=[90], p=[1], duration=77, sensor=True)
    events = read_events(tmp_path / "a.npz", IO_MAP)
    assert events is not None
    assert (events.shape, events.length, events.sensor) == (SENSOR, 77, True)
    np.savez(tmp_path / "b.npz", t=[3], x=[10], y=[9], p=[1], sensor=True, height=10, width=12)
    events = read_events(tmp_path / "b.npz", IO_MAP)
    assert events is not None
    assert events.shape == (2, 10, 12)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b"step,channel\n0,1\n"), ("b.csv", b"t,channel\n0.1,1\n"), ("c.npy", b"\x93NUMPY...")],
)
def test_files_of_counts_are_left_to_their_own_reader(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert read_events(tmp_path / name, IO_MAP) is None
    np.savez(tmp_path / "d.npz", spikes=np.zeros((2, 60)), t=[1])
    assert read_events(tmp_path / "d.npz", IO_MAP) is None


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.bin", b"", "NIRHW-E051"),
        ("a.bin", b"1234", "NIRHW-E051"),
        ("a.bin", bytes([6, 0, 0, 0, 0]), "NIRHW-E050"),
        ("a.bin", bytes([0, 0, 0, 0, 1, 0, 0, 0, 0, 0]), "NIRHW-E051"),
        ("a.npz", b"PK broken", "NIRHW-E051"),
        ("a.csv", b"t_us,x\n1,2\n", "NIRHW-E051"),
        ("a.csv", b"t_us,x,y,z\n1,2,3,4\n", "NIRHW-E051"),
        ("a.csv", b"t_us,x,x\n1,2,3\n", "NIRHW-E051"),
        ("a.csv", b"t_us,x,y\n1,2\n", "NIRHW-E051"),
        ("a.csv", b"t_us,x,y\n1,2,-3\n", "NIRHW-E051"),
        ("a.csv", b"t_us,x,y\n1,2,1.5\n", "NIRHW-E051"),
        ("a.csv", b"t_us,x,y\n1,2,5\n", "NIRHW-E050"),
        ("a.csv", b"t_us,address\n1,60\n", "NIRHW-E050"),
        ("a.csv", b"t_us,address\n9999999999999999999,1\n", "NIRHW-E051"),
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NirhwError) as caught:
        read_events(tmp_path / name, IO_MAP)
    assert caught.value.diagnostics[0].code == code
    assert name in caught.value.diagnostics[0].what


def test_a_bad_row_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t_us,address\n1,2\n\n5,x\n")
    with pytest.raises(InputError, match="line 4"):
        read_events(tmp_path / "a.csv", IO_MAP)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", t=np.array([{}], object), address=[0])
    with pytest.raises(InputError, match="Python objects"):
        read_events(tmp_path / "a.npz", IO_MAP)


def test_one_stream_does_not_feed_two_inputs(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", t=[0], address=[0])
    with pytest.raises(InputError, match="one stream"):
        read_events(tmp_path / "a.npz", {"inputs": {**IO_MAP["inputs"], "other": IO_MAP["inputs"]["in"]}})


def test_aedat4_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aedat", None)
    (tmp_path / "a.aedat4").write_bytes(b"#!AER-DAT4.0\r\n")
    with pytest.raises(NirhwError, match="aedat is missing") as caught:
        read_events(tmp_path / "a.aedat4", IO_MAP)
    assert caught.value.diagnostics[0].code == "NIRHW-E004"


def test_damaged_aedat4_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("aedat")
    for content in (b"#!AER-DAT4.0\r\n", b"#!AER-DAT4.0\r\n" + bytes(10), b"#!AER-DAT4.0\r\n" + b"\xff" * 900):
        (tmp_path / "a.aedat4").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.aedat4"):
            read_events(tmp_path / "a.aedat4", IO_MAP)


def test_aedat4_as_the_vendors_library_writes_it(tmp_path: Path) -> None:
    pytest.importorskip("aedat")
    dv = pytest.importorskip("dv_processing", reason="writes the file to be read: pip install dv-processing")
    c = columns_of(500)
    path = tmp_path / "a.aedat4"
    writer = dv.io.MonoCameraWriter(str(path), dv.io.MonoCameraWriter.EventOnlyConfig("camera", (6, 5)))
    store = dv.EventStore()
    for t, x, y, p in zip(*(c[k].tolist() for k in ("t", "x", "y", "p")), strict=True):
        store.push_back(t + 1_700_000_000_000_000, x, y, bool(p))
    writer.writeEvents(store, "events")
    del writer
    events = read_events(path, IO_MAP)
    assert events is not None
    np.testing.assert_array_equal(events.time, c["t"] - c["t"][0])
    np.testing.assert_array_equal(events.address, (c["p"] * 5 + c["y"]) * 6 + c["x"])


# -- the whole way


def small_model(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    nodes = {
        "input": nir.Input({"input": np.array(PLANE)}),
        "conv": nir.Conv2d((5, 6), rng.normal(0.2, 0.4, (3, 2, 3, 3)), 1, 1, 1, 1, np.zeros(3)),
        "if": nir.IF(np.ones((3, 5, 6)), np.ones((3, 5, 6))),
        "output": nir.Output({"output": np.array((3, 5, 6))}),
    }
    edges = [("input", "conv"), ("conv", "if"), ("if", "output")]
    model = nirhw.compile(nir.NIRGraph(nodes, edges), target="speck")
    model.save(tmp_path / "net.nirhw")
    return tmp_path / "net.nirhw"


def run_cli(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = app(arguments, standalone_mode=False)
    said = capsys.readouterr()
    return int(code or 0), said.out, said.err


def test_the_command_line_runs_events_and_writes_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = small_model(tmp_path)
    np.savez(tmp_path / "in.npz", **columns_of(400))
    arguments = ["emulate", str(model), "--input", str(tmp_path / "in.npz")]
    code, said, _ = run_cli([*arguments, "--output", str(tmp_path / "out.npz"), "--record", "if", "--json"], capsys)
    assert code == 0
    told = json.loads(said)
    run = nirhw.load(model).emulate(read_events(tmp_path / "in.npz", IO_MAP))
    assert told["input_events"] == 400
    assert told["spikes"]["output"] == int(run.counts.sum()) > 0
    assert told["cores"]["updates"] == run.cores["updates"].tolist()
    with np.load(tmp_path / "out.npz") as written:
        np.testing.assert_array_equal(written["t"], run.events.time)
        np.testing.assert_array_equal(written["address"], run.events.address)
        np.testing.assert_array_equal(written["counts"], run.counts)
        np.testing.assert_array_equal(written["state/if/counts"], run.counts)
    # what was written is an event file itself
    again = read_events(tmp_path / "out.npz", {"inputs": {"in": {"shape": [3, 5, 6], "plane": [3, 5, 6]}}})
    assert again is not None
    assert again.number == run.events.number
    code, said, _ = run_cli(arguments, capsys)
    assert (code, "synaptic operations/s" in said) == (0, True)


@pytest.mark.parametrize("flag", ["--reference", "--fidelity"])
def test_the_command_line_refuses_what_needs_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str) -> None:
    model = small_model(tmp_path)
    np.savez(tmp_path / "in.npz", **columns_of(4))
    code, _, said = run_cli(["emulate", str(model), "--input", str(tmp_path / "in.npz"), flag], capsys)
    assert (code, "NIRHW-E002" in said) == (2, True)


def test_a_chip_that_counts_in_steps_refuses_events() -> None:
    model = nirhw.compile(b.chain(2, 2, fc=nir.Linear(b.weights(2, 2)), lif=b.lif(2)), target="xylo", dt=1e-3)
    with pytest.raises(InputError, match="no events with time stamps") as caught:
        model.emulate(Events(np.zeros(1, int), np.zeros(1, int), (2,)))
    assert caught.value.diagnostics[0].code == "NIRHW-E050"
    assert caught.value.diagnostics[0].fix


def test_a_model_refuses_events_of_another_plane_and_unknown_inputs(tmp_path: Path) -> None:
    model = nirhw.load(small_model(tmp_path))
    good = random_events(3)
    with pytest.raises(InputError, match="plane"):
        model.emulate(Events(np.zeros(1, int), np.zeros(1, int), (2, 5, 5)))
    with pytest.raises(InputError, match="events are given for"):
        model.emulate({"other": good})
    with pytest.raises(InputError, match="another model"):
        model.emulate(good, state=3)
    assert model.emulate({"input": good}).counts.shape == (3, 5, 6)
