"""``.nirhw`` files: self-contained, whole or not at all, and safe to load from strangers."""

from __future__ import annotations

import io
import json
import os
import pickle
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import nirhw
from nirhw.artifact import DOCUMENT
from tests import builders as b


@pytest.fixture(scope="module")
def model() -> nirhw.CompiledModel:
    nodes = {
        "w": b.linear(6, 4),
        "n": b.cubalif(6),
        "rec": b.linear(6, 6, 3, 0.1),
        "w2": b.linear(3, 6),
        "o": b.cubalif(3),
    }
    edges = [("in", "w"), ("w", "n"), ("n", "rec"), ("rec", "n"), ("n", "w2"), ("w2", "o"), ("o", "out")]
    return nirhw.compile(b.graph(4, 3, nodes, edges), "xylo", dt=b.DT)


def test_a_loaded_model_does_what_the_saved_one_did(model: nirhw.CompiledModel, tmp_path: Path) -> None:
    model.save(tmp_path / "net.nirhw")
    loaded = nirhw.load(tmp_path / "net.nirhw")
    x = b.spikes(80, 4, batch=3)
    first, second = model.emulate(x, record=["n"]), loaded.emulate(x, record=["n"])
    np.testing.assert_array_equal(first.spikes, second.spikes)
    np.testing.assert_array_equal(first.states["n"]["v"], second.states["n"]["v"])
    np.testing.assert_array_equal(model.reference(x).spikes, loaded.reference(x).spikes)
    assert loaded.report.data == model.report.data and loaded.deviations == model.deviations
    assert loaded.config.to_json() == model.config.to_json()
    assert model.fidelity(x) == loaded.fidelity(x)
    assert loaded.to_bytes() == model.to_bytes()


def from_bytes(content: bytes) -> nirhw.CompiledModel:
    """Return the model of a file with this content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.nirhw"
        path.write_bytes(content)
        return nirhw.load(path)


def repacked(content: bytes, change: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            new.writestr(name, change.get(name, old.read(name)))
        for name in change.keys() - set(old.namelist()):
            new.writestr(name, change[name])
    return stream.getvalue()


def test_every_damaged_byte_is_noticed(model: nirhw.CompiledModel) -> None:
    good = model.to_bytes()
    rng = np.random.default_rng(0)
    same = model.to_bytes()
    for _ in range(400):
        bad = bytearray(good)
        for position in rng.integers(0, len(bad), rng.integers(1, 4)):
            bad[position] ^= int(rng.integers(1, 256))
        try:
            loaded = from_bytes(bytes(bad))
        except nirhw.NirhwError as failure:
            assert failure.code in ("NIRHW-E060", "NIRHW-E061")
        else:  # a byte of the zip's own bookkeeping that nobody reads
            assert loaded.to_bytes() == same


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip at all", b"\0" * 100])
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(nirhw.NirhwError) as caught:
        from_bytes(content)
    assert caught.value.code == "NIRHW-E060"


def test_a_changed_document_is_refused(model: nirhw.CompiledModel) -> None:
    good = model.to_bytes()
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        document = json.loads(archive.read(DOCUMENT))
    document["body"]["target"] = "xylo-imu"
    with pytest.raises(nirhw.NirhwError, match="checksum"):
        from_bytes(repacked(good, {DOCUMENT: json.dumps(document).encode()}))
    document["format_version"] = 99
    with pytest.raises(nirhw.NirhwError) as caught:
        from_bytes(repacked(good, {DOCUMENT: json.dumps(document).encode()}))
    assert caught.value.code == "NIRHW-E061"


class _Bomb:
    """Would create a file when unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_nothing_is_unpickled(model: nirhw.CompiledModel, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    stream = io.BytesIO()
    np.save(stream, np.array([_Bomb(marker)], dtype=object), allow_pickle=True)
    assert marker.name.encode() in pickle.dumps(_Bomb(marker))
    with zipfile.ZipFile(io.BytesIO(model.to_bytes())) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".npy"))
    with pytest.raises(nirhw.NirhwError) as caught:
        from_bytes(repacked(model.to_bytes(), {name: stream.getvalue()}))
    assert caught.value.code == "NIRHW-E060" and not marker.exists()


def test_unreadable_and_unwritable_paths_say_so(model: nirhw.CompiledModel, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.nirhw"):
        with pytest.raises(nirhw.NirhwError) as caught:
            nirhw.load(path)
        assert caught.value.code == "NIRHW-E005"
    for path in (tmp_path / "no" / "such" / "folder.nirhw", tmp_path):
        with pytest.raises(nirhw.NirhwError) as caught:
            model.save(path)
        assert caught.value.code == "NIRHW-E005"
    assert list(tmp_path.iterdir()) == []  # nothing half-written is left behind
