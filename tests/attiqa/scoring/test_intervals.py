"""`attiqa score --uncertainty`: columns of tables, by PyTorch and by ONNX Runtime."""

from dataclasses import replace

import pytest
import tyro
from PIL import Image

from attiqa.cli.score import Settings, main
from attiqa.errors import AttiqaError, CheckpointError
from attiqa.model.checkpoints import save_checkpoint
from attiqa.model.quality_model import load_model
from attiqa.scoring.in_onnx import GraphScorer
from attiqa.scoring.in_torch import TorchScorer
from attiqa.scoring.rows import INTERVAL
from attiqa.scoring.scorers import load_scorer
from attiqa.scoring.tables import ScoreTableError, read_rows, table_schema


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_table_has_the_interval_of_the_api(model, weights, folder, tmp_path, suffix):
    out = tmp_path / f"scores{suffix}"
    paths = tuple(folder / name for name in ("0.png", "2.png", "broken.jpg"))
    assert main(Settings(paths, out, str(weights), uncertainty=True)) == 1
    *scored, failed = read_rows(out)
    assert tuple(scored[0]) == tuple(table_schema(intervals=True).names)
    for row, path in zip(scored, paths, strict=False):
        found = model.score_with_interval(path)
        assert row["score_sd"] == pytest.approx(found.spread.item(), abs=1e-5)
        assert row["score_low"] == pytest.approx(found.low.item(), abs=1e-5)
        assert row["score_high"] == pytest.approx(found.high.item(), abs=1e-5)
        assert '"interval": 0.9' in str(row["protocol"])
    assert [failed[name] for name in INTERVAL] == [None] * 3


def test_both_runtimes_agree(folder):
    graph, model = load_scorer(), TorchScorer(load_model())
    assert isinstance(graph, GraphScorer)
    path = folder / "0.png"
    (by_graph,), (by_torch,) = (x.score([x.look(path).crops]) for x in (graph, model))
    assert by_graph.spread == pytest.approx(by_torch.spread, abs=1e-5)
    assert by_graph.spread > 1e-3


def test_a_table_without_intervals_is_not_continued_with_them(weights, folder, tmp_path):
    out = tmp_path / "scores.csv"
    main(Settings((folder / "0.png",), out, str(weights)))
    assert "score_sd" not in next(read_rows(out))
    with pytest.raises(ScoreTableError, match="name another file"):
        main(Settings((folder / "0.png",), out, str(weights), uncertainty=True))


def test_a_model_without_calibration_is_refused_before_anything_is_scored(model, folder, tmp_path):
    card = replace(model.card, uncertainty=None)
    path = save_checkpoint(tmp_path / "bare", model.net, card)
    out = tmp_path / "scores.csv"
    with pytest.raises(CheckpointError, match="no calibrated uncertainty"):
        main(Settings((folder / "0.png",), out, str(path), uncertainty=True))
    assert not list(tmp_path.glob("scores*"))


def test_one_crop_has_no_spread(folder):
    arguments = [str(folder / "0.png"), "--crops", "1", "--uncertainty"]
    with pytest.raises(AttiqaError, match="leave out --crops 1"):
        tyro.cli(Settings, args=arguments).check()


def test_intervals_are_printed(model, weights, folder, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "250")
    main(Settings((folder / "0.png",), None, str(weights), uncertainty=True))
    printed = capsys.readouterr().out
    found = model.score_with_interval(Image.open(folder / "0.png"))
    assert f"{found.low.item():.2f} {found.high.item():.2f}" in printed
    assert "is to hold 90% of the opinions" in " ".join(printed.split())
