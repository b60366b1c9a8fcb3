"""Scoring of files: in order, in bounded memory, as each alone."""

import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import attiqa
from attiqa.cli import score
from attiqa.errors import AttiqaError, ImageFileError
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.model.quality_model import QualityModel
from attiqa.scoring import files as folder_scoring
from attiqa.scoring import run as scoring
from attiqa.scoring.files import score_files
from attiqa.scoring.in_torch import TorchScorer
from tests.attiqa.scoring.folders import files_in


@pytest.mark.parametrize(("batch", "workers"), [(1, 1), (5, 2), (64, 3)])
def test_files_score_as_alone_in_the_order_given(model, folder, batch, workers):
    paths = files_in(folder)[::-1]
    rows = [row for rows in score_files(TorchScorer(model), paths, batch, workers) for row in rows]
    assert [row.path for row in rows] == paths
    for row in rows:
        if row.path.name in ("broken.jpg", "dot.png"):
            assert row.score is None
            assert str(row.path) in row.error
            continue
        alone = model.score(row.path)
        assert row.score == pytest.approx(alone.score.item(), abs=1e-5)
        assert row.attributes == pytest.approx(alone.attributes[0].tolist(), abs=1e-5)
        with Image.open(row.path) as image:
            assert (row.width, row.height) == image.size
    assert len({row.score for row in rows}) == 11  # ten photographs, and None


def test_no_more_photographs_wait_than_stated(model, folder, monkeypatch):
    path, started, scored, lock = next(folder.glob("0.png")), [], [], threading.Lock()
    decode = folder_scoring._decode

    def counted(*args):
        with lock:
            started.append(1)
        return decode(*args)

    monkeypatch.setattr(folder_scoring, "_decode", counted)
    for rows in score_files(TorchScorer(model), iter([path] * 60), batch=4, workers=2):
        scored += rows
        assert len(started) - len(scored) <= 4 + 2
    assert len(scored) == 60


def test_a_model_that_gives_no_number_gives_an_error(model, folder):
    model.net.regressor[-1].bias.data.fill_(float("nan"))
    ((row,),) = score_files(TorchScorer(model), [folder / "0.png"])
    assert row.score is None
    assert "nan" in row.error


@pytest.mark.parametrize(("batch", "workers"), [(0, 1), (-1, 1), (1, 0), (1, -3)])
def test_numbers_below_1_are_refused(weights, folder, batch, workers):
    settings = score.Settings((folder,), None, str(weights), batch_size=batch, workers=workers)
    with pytest.raises(AttiqaError, match=r"\w+: expected 1 or more; found -?\d"):
        settings.check()


def test_a_model_of_a_single_attribute_is_printed(tiny, model, folder, monkeypatch, capsys):
    architecture = replace(tiny, attributes=("quality",))
    card = replace(model.card, architecture=architecture, attributes=("quality",))
    single = QualityModel(QualityNet(AttributeNet(architecture)), card)
    monkeypatch.setattr(scoring, "load_scorer", lambda *_: TorchScorer(single))
    assert score.main(score.Settings((folder / "0.png",))) == 0
    assert f"{single.score(folder / '0.png').attributes.item():.3f}" in capsys.readouterr().out


def test_names_of_files_are_not_folded_where_there_is_room(
    model, weights, folder, monkeypatch, capsys
):
    monkeypatch.delenv("COLUMNS", raising=False)
    long = folder / "holidays" / f"{'a_long_name_' * 9}.png"
    long.parent.mkdir()
    shutil.copy(folder / "0.png", long)
    assert score.main(score.Settings((long, folder / "2.png"), model=str(weights))) == 0
    printed = capsys.readouterr().out
    assert f"holidays/{long.name} " in printed  # below their common folder
    assert str(folder) in printed.replace("\n", "")
    header = next(line for line in printed.splitlines() if "file" in line)
    assert [*header.split()] == ["file", "score", *model.card.attributes]


def test_a_few_scores_are_printed_best_first(model, weights, folder, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(folder)
    paths = [Path(name) for name in ("0.png", "2.png", "4.png", "broken.jpg", "0.png")]
    assert score.main(score.Settings(tuple(paths), model=str(weights))) == 1
    printed = capsys.readouterr().out
    scores = {path.name: model.score(path).score.item() for path in paths[:3]}
    order = [
        printed.index(f"{name} ")
        for name in sorted(scores, key=lambda name: scores[name], reverse=True)
    ]
    assert order == sorted(order)
    assert order[-1] < printed.index("broken.jpg")
    assert "higher is better" in printed
    assert "BIQ2021" in printed
    assert "3 scored, 1 failed" in printed


def test_nothing_at_a_path(tmp_path):
    with pytest.raises(ImageFileError, match="nowhere"):
        score.main(score.Settings((tmp_path / "nowhere",)))
    with pytest.raises(ImageFileError, match="at least one"):
        score.main(score.Settings(()))


@pytest.mark.slow
def test_48_megapixels(model, tmp_path):
    random = np.random.default_rng(0)
    small = Image.fromarray(random.integers(0, 256, (60, 80, 3)).astype(np.uint8))
    small.resize((8000, 6000)).save(tmp_path / "large.jpg")
    ((row,),) = score_files(TorchScorer(model), [tmp_path / "large.jpg"])
    assert (row.width, row.height) == (8000, 6000)
    assert row.score is not None


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own record of the peak is read")
@pytest.mark.parametrize("library", ["torch", "onnx"])
def test_100_megapixels_take_eight_bytes_each(photo, tmp_path, library):
    """Decoded in a thread, as in a folder: seven bytes, and what the allocator keeps."""
    code = """if True:
        import sys
        from pathlib import Path
        from attiqa.model.quality_model import load_model
        from attiqa.scoring.files import score_files
        from attiqa.scoring.in_torch import TorchScorer
        from attiqa.scoring.scorers import load_scorer
        def peak():  # of this program; ru_maxrss may be that of the program that started it
            lines = Path("/proc/self/status").read_text().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
        library, *names = sys.argv[1:]
        scorer = TorchScorer(load_model()) if library == "torch" else load_scorer()
        peaks = []
        for name in names:
            ((row,),) = score_files(scorer, [Path(name)])
            assert row.score is not None, row.error
            peaks.append(peak())
        print(1024 * (peaks[1] - peaks[0]))
    """
    image = Image.fromarray(photo)
    image.save(tmp_path / "small.jpg")
    image.resize((10_000, 10_000)).save(tmp_path / "large.jpg")
    run = subprocess.run(
        [sys.executable, "-c", code, library, tmp_path / "small.jpg", tmp_path / "large.jpg"],
        env={**os.environ, "PYTHONPATH": str(Path(attiqa.__file__).parents[1])},
        check=True,
        capture_output=True,
        text=True,
    )
    assert int(run.stdout) < 8 * 10_000 * 10_000
