"""Spike files: what they may hold, what is refused and how the text names the place."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nirhw import NirhwError
from nirhw.spike_files import key_of, read_labels, read_spikes, write_npz

ONE = {"in": (2, 3)}
TWO = {"left": (2,), "right": (3,)}


def text_file(folder: Path, text: str) -> Path:
    path = folder / "events.csv"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path, inputs: dict[str, Any] = ONE, steps: int | None = None) -> NirhwError:
    with pytest.raises(NirhwError) as caught:
        read_spikes(path, inputs, 1e-3, steps)
    return caught.value


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32, ">i2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_npy_file_is_one_array(tmp_path: Path, dtype: Any, order: Any) -> None:
    spikes = np.asarray(np.random.default_rng(0).random((5, 2, 3)) < 0.5, dtype, order=order)
    np.save(tmp_path / "s.npy", spikes)
    found = read_spikes(tmp_path / "s.npy", ONE, 1e-3)
    np.testing.assert_array_equal(found.spikes["in"], spikes)
    assert found.spikes["in"].dtype == spikes.dtype and found.labels is None


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_keys(tmp_path: Path, save: Any) -> None:
    a, b = np.ones((4, 2), np.uint8), np.zeros((4, 3), np.uint8)
    save(tmp_path / "one.npz", spikes=a, labels=np.array(3), dt=1e-3, reset="subtract")
    found = read_spikes(tmp_path / "one.npz", {"in": (2,)}, 1e-3)
    assert found.spikes["in"].shape == (4, 2) and found.labels == 3
    save(tmp_path / "two.npz", left=a, right=b)
    assert {k: v.shape for k, v in read_spikes(tmp_path / "two.npz", TWO, 1e-3).spikes.items()} == {
        "left": (4, 2),
        "right": (4, 3),
    }
    missing = refusal(tmp_path / "one.npz", TWO)
    assert missing.code == "NIRHW-E050" and "'left', 'right'" in str(missing) and "spikes, labels" in str(missing)


class _Bomb:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    bomb = np.array([_Bomb(tmp_path / "executed")], dtype=object)
    np.save(tmp_path / "a.npy", bomb, allow_pickle=True)
    np.savez(tmp_path / "a.npz", allow_pickle=True, spikes=bomb)
    (tmp_path / "raw.npy").write_bytes(pickle.dumps(bomb[0]))
    for name in ("a.npy", "a.npz", "raw.npy"):
        assert refusal(tmp_path / name).code == "NIRHW-E051"
    with pytest.raises(NirhwError):
        read_labels(tmp_path / "a.npy")
    assert not (tmp_path / "executed").exists()


def npy_claiming(shape: str, data: bytes = b"\0" * 8) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.zeros(0))
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return stream.getvalue()[:8] + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(9,)", "(7,)", "(-8,)", "(2, -4, -1)", "'x'", "(10**30,)"])
def test_a_header_that_lies_allocates_nothing(tmp_path: Path, shape: str) -> None:
    (tmp_path / "s.npy").write_bytes(npy_claiming(shape))
    assert refusal(tmp_path / "s.npy").code == "NIRHW-E051"
    with zipfile.ZipFile(tmp_path / "s.npz", "w") as archive:
        archive.writestr("spikes.npy", npy_claiming(shape))
    assert refusal(tmp_path / "s.npz").code == "NIRHW-E051"


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "big.npz", spikes=np.zeros((3000, 2, 3), np.int64))
    monkeypatch.setattr("nirhw.spike_files.MAX_BYTES", 100_000)
    assert "unpacks to more" in str(refusal(tmp_path / "big.npz"))


def test_mutated_files_never_surprise(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "s.npz", spikes=np.eye(6, dtype=np.uint8).reshape(6, 2, 3), labels=np.array(1))
    np.save(tmp_path / "s.npy", np.eye(6, dtype=np.uint8).reshape(6, 2, 3))
    (tmp_path / "s.csv").write_text("step,channel,count\n0,1,2\n3,4,1\n")
    rng = np.random.default_rng(0)
    for name in ("s.npz", "s.npy", "s.csv"):
        good = (tmp_path / name).read_bytes()
        for _ in range(200):
            bad = bytearray(good)
            for position in rng.integers(0, len(bad), rng.integers(1, 5)):
                bad[position] = rng.integers(0, 256)
            (tmp_path / "bad").write_bytes(bytes(bad[: rng.integers(1, len(bad) + 1)]) if rng.random() < 0.3 else bytes(bad))
            try:
                read_spikes(tmp_path / "bad", ONE, 1e-3)
            except NirhwError as failure:
                assert failure.code in ("NIRHW-E050", "NIRHW-E051"), failure


def test_other_files_are_refused(tmp_path: Path) -> None:
    for content in (b"", b"\x89HDF\r\n\x1a\n" + b"\0" * 100, b"PK\x03\x04 no", b"\x93NUMPY", b"hello\n", b"\xff\xfe,"):
        (tmp_path / "x").write_bytes(content)
        assert refusal(tmp_path / "x").code == "NIRHW-E051", content
    for path in (tmp_path, tmp_path / "missing"):
        assert refusal(path).code == "NIRHW-E005"


def test_events_become_counts(tmp_path: Path) -> None:
    path = text_file(tmp_path, "step, channel\n0,5\n2,0\n\n2,0\n")
    spikes = read_spikes(path, ONE, 1e-3).spikes["in"]
    assert spikes.shape == (3, 2, 3) and spikes.sum() == 3
    assert spikes[0, 1, 2] == 1 and spikes[2, 0, 0] == 2
    assert read_spikes(path, ONE, 1e-3, steps=9).spikes["in"].shape == (9, 2, 3)
    too_few = refusal(path, steps=2)
    assert too_few.code == "NIRHW-E050" and "step 2" in str(too_few)


def test_samples_inputs_and_counts(tmp_path: Path) -> None:
    path = text_file(tmp_path, "\ufeffSample,Input,Step,Channel,Count\n0,left,1,1,4\n2,right,0,2,0\n")
    found = read_spikes(path, TWO, 1e-3).spikes
    assert found["left"].shape == (3, 2, 2) and found["right"].shape == (3, 2, 3)
    assert found["left"][0, 1, 1] == 4 and found["right"].sum() == 0
    assert "the column input is missing" in str(refusal(text_file(tmp_path, "step,channel\n0,0\n"), TWO))


def test_the_quick_and_the_careful_way_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = "".join(f"{float(t)!r},{c},{n},{s}\n" for t, c, n, s in zip(rng.random(500), rng.integers(0, 6, 500), rng.integers(0, 9, 500), rng.integers(0, 4, 500), strict=True))  # fmt: skip
    path = text_file(tmp_path, "t,channel,count,sample\n" + rows)
    quick = read_spikes(path, ONE, 1e-3).spikes["in"]
    monkeypatch.setattr("nirhw.spike_files._parsed_at_once", lambda *_: None)
    np.testing.assert_array_equal(quick, read_spikes(path, ONE, 1e-3).spikes["in"])


def test_times_fall_into_half_open_steps(tmp_path: Path) -> None:
    path = text_file(tmp_path, "t,channel\n0,0\n0.000999,0\n0.001,0\n3e-3,0\n0.0069,0\n")
    assert read_spikes(path, {"in": (1,)}, 1e-3).spikes["in"][:, 0].tolist() == [2, 1, 0, 1, 0, 0, 1]


@given(step=st.integers(0, 20_000), dt=st.sampled_from([1e-4, 1e-3, 0.1, 1.0, 3e-3, 0.0064]))
def test_a_step_written_in_seconds_is_that_step(step: int, dt: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "edge.csv"
    path.write_text(f"t,channel\n{step * dt!r},0\n")
    assert read_spikes(path, {"in": (1,)}, dt).spikes["in"].shape == (step + 1, 1)


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("channel\n0\n", "E051", "one of the columns step and t"),
        ("step,t,channel\n0,0,0\n", "E051", "not both"),
        ("step\n0\n", "E051", "channel is missing"),
        ("step,channel,x\n", "E051", "unknown columns: x"),
        ("step,step,channel\n", "E051", "stands twice"),
        ("step,channel\n0\n", "E051", "line 2: 1 values stand in 2 columns"),
        ("step,channel\n0,1\n\n-1,0\n", "E051", "line 4: step is '-1'"),
        ("step,channel\n1.5,0\n", "E051", "line 2: step is '1.5'"),
        ("step,channel\n" + "9" * 5000 + ",0\n", "E051", "line 2: step is '9999"),
        ("step,channel\n0,6\n", "E050", "line 2: channel 6 does not exist"),
        ("step,channel,count\n0,0,-2\n", "E051", "line 2: count is '-2'"),
        ("step,channel,count\n0,0,nan\n", "E051", "line 2: count is 'nan'"),
        ("step,channel,count\n0,0,99999999\n", "E051", "is too large"),
        ("t,channel\nnan,0\n", "E051", "line 2: t is 'nan'"),
        ("t,channel\ninf,0\n", "E051", "line 2: t is 'inf'"),
        ("t,channel\n-1e-9,0\n", "E051", "line 2: t is '-1e-9'"),
        ("t,channel\n1e9,0\n", "E050", "MiB"),
        ("t,channel\n1e308,0\n", "E051", "line 2: t is '1e308'"),
        ("step,channel\n999999999999,0\n", "E050", "the budget is"),
        ("step,channel,sample\n0,0,999999999999\n", "E050", "the budget is"),
        ("step,channel,input\n0,0,else\n", "E050", "no input is called 'else'"),
        ("step,channel\n", "E051", "no events"),
        ('step,channel\n0,"1\n', "E051", "line 2"),
        ("step,channel\n\x1b[31m,0\n", "E051", "\\x1b[31m"),
    ],
)
def test_malformed_events_are_named_by_line(tmp_path: Path, text: str, code: str, says: str) -> None:
    failure = refusal(text_file(tmp_path, text))
    assert failure.code == f"NIRHW-{code}" and says in str(failure), failure
    assert "\x1b" not in str(failure)


def test_several_bad_lines_are_told_at_once_but_not_all_of_a_million(tmp_path: Path) -> None:
    failure = refusal(text_file(tmp_path, "step,channel\n" + "x,0\n" * 500))
    assert [d.what.split(":")[0][-6:] for d in failure.diagnostics][:3] == ["line 2", "line 3", "line 4"]
    assert len(failure.diagnostics) == 10


def test_steps_are_for_event_files(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.zeros((5, 2, 3)))
    assert refusal(tmp_path / "s.npy", steps=9).code == "NIRHW-E002"
    assert read_spikes(text_file(tmp_path, "step,channel\n"), ONE, 1e-3, steps=4).spikes["in"].shape == (4, 2, 3)


def test_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "l.npy", np.arange(3))
    np.savez(tmp_path / "l.npz", labels=np.arange(3))
    np.savez(tmp_path / "none.npz", spikes=np.arange(3))
    assert read_labels(tmp_path / "l.npy").tolist() == read_labels(tmp_path / "l.npz").tolist() == [0, 1, 2]
    with pytest.raises(NirhwError, match="holds no labels"):
        read_labels(tmp_path / "none.npz")


def test_results_are_written_whole_and_the_same_each_time(tmp_path: Path) -> None:
    arrays = {"spikes": np.eye(3, dtype=np.uint8), "state/a.b/v": np.arange(4, dtype=np.int16), "latency": np.array("{}")}
    write_npz(tmp_path / "a.npz", arrays)
    write_npz(tmp_path / "b.npz", arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as back:
        assert set(back.files) == set(arrays)
        np.testing.assert_array_equal(back["state/a.b/v"], arrays["state/a.b/v"])
    with pytest.raises(NirhwError) as caught:
        write_npz(tmp_path / "no" / "a.npz", arrays)
    assert caught.value.code == "NIRHW-E005"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npz"]


@pytest.mark.parametrize(
    "name", ["..", ".", "", "../../etc/passwd", "/abs", "a\\..\\b", "x\x1b[2J", "ü/..", "\udc80", "n" * 9000]
)
def test_no_node_name_becomes_a_path(name: str) -> None:
    key = key_of(name)
    assert key not in ("", ".", "..") and not set(key) & set("/\\\x1b:") and key.isascii() and len(key) <= 200


def test_plain_names_stay_as_they_are() -> None:
    assert key_of("lif1.lif") == "lif1.lif" and key_of("a/b") != key_of("a.b")
