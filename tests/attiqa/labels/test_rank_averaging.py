"""Labels of several teachers, averaged by rank, from stores as `attiqa label` writes them."""

from pathlib import Path

import numpy as np
import pytest

from attiqa.attributes import ATTRIBUTES
from attiqa.cli import pretrain
from attiqa.errors import LabelStoreError
from attiqa.labels.rank_averaging import read_averaged_labels
from attiqa.labels.store import ShardWriter, hash_paths, read_labels, require_manifest
from attiqa.training.settings import PretrainSettings, Schedule

NAMES = tuple(f"{letter}.png" for letter in "abcdef")


def write(folder: Path, deltas: np.ndarray, rejects=(), names=NAMES, attributes=ATTRIBUTES) -> Path:
    """A finished store; rows of rejected images are left out."""
    manifest = {"teacher": folder.name, "attributes": list(attributes)}
    images = {"count": len(names), "sha256": hash_paths(names)}
    require_manifest(folder, manifest | {"images": images})
    labels = ShardWriter(folder, "labels", 0, 100, attributes)
    rows = zip(names, deltas.tolist(), strict=True)
    labels.append((n, 8, 8, 1, "0", *row) for n, row in rows if n not in rejects)
    labels.close()
    broken = ShardWriter(folder, "rejects", 0, 100)
    broken.append((name, "torn") for name in rejects)
    broken.close()
    return folder


@pytest.fixture
def deltas() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)


def test_one_store_is_taken_as_it_is(tmp_path, deltas):
    store = write(tmp_path / "one", deltas)
    assert np.array_equal(read_averaged_labels([store]).deltas, read_labels(store).deltas)


def test_ranks_are_averaged_whatever_the_spread_of_a_teacher(tmp_path):
    first = np.tile(np.array([[0.1], [0.2], [0.3], [0.4], [0.5], [0.6]]), (1, 5))
    second = 1000 * np.tile(np.array([[2.0], [2.0], [9.0], [1.0], [4.0], [3.0]]), (1, 5))
    stores = [write(tmp_path / name, d) for name, d in (("x", first), ("y", second))]
    averaged = read_averaged_labels(stores)
    # ranks 0..5, and 1.5 1.5 5 0 4 3 (two share first and second); means, over 5
    expected = np.array([0.75, 1.25, 3.5, 1.5, 4.0, 4.0]) / 5
    for column in averaged.deltas.T:
        assert column == pytest.approx(expected)
    assert averaged.manifest["teacher"] == ["x", "y"]
    assert averaged.paths == NAMES


def test_a_teacher_that_agrees_with_itself_keeps_its_order(tmp_path, deltas):
    stores = [write(tmp_path / "x", deltas), write(tmp_path / "y", np.exp(deltas))]
    averaged = read_averaged_labels(stores).deltas
    for column, own in zip(averaged.T, deltas.T, strict=True):
        assert column.argsort().tolist() == own.argsort().tolist()


def test_a_photograph_that_one_teacher_could_not_read_is_left_out(tmp_path, deltas):
    stores = [write(tmp_path / "x", deltas, rejects=("c.png",)), write(tmp_path / "y", deltas)]
    averaged = read_averaged_labels(stores)
    assert averaged.paths == ("a.png", "b.png", "d.png", "e.png", "f.png")
    assert averaged.rejects == {"c.png": "torn"}
    rest = np.delete(deltas, 2, axis=0)
    assert averaged.deltas == pytest.approx(rest.argsort(0).argsort(0) / 4)  # ranked among the rest


def test_stores_of_other_photographs_or_attributes_are_refused(tmp_path, deltas):
    one = write(tmp_path / "one", deltas)
    less = write(tmp_path / "less", deltas[:5], names=NAMES[:5])
    with pytest.raises(LabelStoreError, match=r"less: photographs other than those of .*one"):
        read_averaged_labels([one, less])
    single = write(tmp_path / "single", deltas[:, :1], attributes=("sharpness",))
    with pytest.raises(LabelStoreError, match=r"single: attributes other than those of .*one"):
        read_averaged_labels([one, single])


def test_averaged_ranks_are_no_cosines(tmp_path, deltas):
    stores = (write(tmp_path / "x", deltas), write(tmp_path / "y", deltas))
    (tmp_path / "photo.png").touch()
    eq2 = PretrainSettings(Schedule(), loss="eq2", distorted=0.0)
    with pytest.raises(ValueError, match="eq2 needs the differences of one teacher"):
        pretrain.Settings(tmp_path, labels=stores, pretraining=eq2, out=tmp_path / "out").check()
