"""Tables of scores: content, formats, names, changes, interruptions."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import attiqa
from attiqa.attributes import ATTRIBUTES
from attiqa.cli import score
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.model.quality_model import QualityModel, load_model
from attiqa.scoring import files as folder_scoring
from attiqa.scoring import run as scoring
from attiqa.scoring.files import score_files
from attiqa.scoring.in_torch import TorchScorer
from attiqa.scoring.rows import named_file, table_row, table_text
from attiqa.scoring.tables import ScoreJournal, ScoreTableError, read_rows, table_schema
from tests.attiqa.scoring.folders import files_in


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_table(model, weights, folder, tmp_path, suffix):
    out = tmp_path / "results" / f"scores{suffix}"
    settings = score.Settings((folder,), out, str(weights))
    assert score.main(settings) == 1
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    if suffix == ".csv":
        with out.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
    elif suffix == ".jsonl":
        rows = [json.loads(line) for line in out.read_text().splitlines()]
    else:
        rows = pq.read_table(out).to_pylist()
    assert list(rows[0]) == table_schema().names
    assert [Path(row["path"]) for row in rows] == files_in(folder)
    by_name = {Path(row["path"]).name: row for row in rows}
    row = by_name["3.png"]
    expected = model.score(folder / "more" / "3.png")
    assert float(row["score"]) == pytest.approx(expected.score.item(), abs=1e-5)
    found = [float(row[name]) for name in ATTRIBUTES]
    assert found == pytest.approx(expected.attributes[0].tolist(), abs=1e-5)
    assert (float(row["scale_low"]), float(row["scale_high"])) == (0, 1)
    assert row["direction"] == "higher is better"
    assert "BIQ2021" in row["training"]
    assert row["model"] == "tiny"
    assert row["weights_sha256"] == load_model(weights).card.sha256
    assert json.loads(row["protocol"]) == {"short_side": 72, "crop": 64, "further": []}
    assert (int(row["width"]), int(row["height"])) == (237, 188)
    assert not row["error"]
    assert "broken.jpg" in by_name["broken.jpg"]["error"]
    assert not by_name["broken.jpg"]["score"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_finished_table_gets_new_files_and_those_that_failed(
    weights, folder, tmp_path, monkeypatch, suffix
):
    out = tmp_path / f"scores{suffix}"
    settings = score.Settings((folder,), out, str(weights))
    score.main(settings)
    before = {row["path"]: row for row in read_rows(out)}
    shutil.copy(folder / "0.png", folder / "broken.jpg")
    shutil.copy(folder / "2.png", folder / "new.png")
    (folder / "dot.png").unlink()
    asked = []

    def recorded(model, paths, *args):
        asked.extend(path.name for path in paths)
        return score_files(model, paths, *args)

    monkeypatch.setattr(scoring, "score_files", recorded)
    assert score.main(settings) == 0
    assert sorted(asked) == ["broken.jpg", "new.png"]
    after = {row["path"]: row for row in read_rows(out)}
    assert after[str(folder / "broken.jpg")]["score"] == before[str(folder / "0.png")]["score"]
    for path, row in before.items():
        if not row["error"]:
            assert after[path] == row


@pytest.mark.parametrize("name", ["scores.csv", "scores.csv.part"])
def test_a_file_that_changed_is_scored_again(weights, folder, tmp_path, capsys, name):
    out = tmp_path / "scores.csv"
    settings = score.Settings((folder / "0.png", folder / "2.png"), out, str(weights))
    score.main(settings)
    before = {row["path"]: row for row in read_rows(out)}
    if name.endswith(".part"):
        lines = [json.dumps(row) + "\n" for row in before.values()]
        out.with_name(name).write_text("".join(lines))
        out.unlink()
    shutil.copy(folder / "4.png", folder / "2.png")
    later = (tmp_path / name).stat().st_mtime + 5
    os.utime(folder / "2.png", (later, later))
    capsys.readouterr()
    assert score.main(settings) == 0
    assert "2 scored, 0 failed, 1 kept from earlier" in capsys.readouterr().out
    after = {row["path"]: row for row in read_rows(out)}
    assert after[str(folder / "0.png")] == before[str(folder / "0.png")]
    assert (after[str(folder / "2.png")]["width"], len(after)) == (216, 2)


@pytest.mark.parametrize("line", [b"{broken\n", b"\xff\xfe\n", b"3\n", b"\n"])
def test_a_broken_line_of_the_journal_is_scored_again(weights, folder, tmp_path, caplog, line):
    out = tmp_path / "scores.csv"
    settings = score.Settings(tuple(folder / f"{i}.png" for i in (0, 2, 4)), out, str(weights))
    score.main(settings)
    first, _, last = (json.dumps(row).encode() + b"\n" for row in read_rows(out))
    (tmp_path / "scores.csv.part").write_bytes(first + line + last)
    before = sorted(out.read_bytes().splitlines())
    out.unlink()
    assert score.main(settings) == 0
    assert sorted(out.read_bytes().splitlines()) == before
    assert "scores.csv.part: 1 broken lines" in caplog.text


@pytest.mark.parametrize("name", ["scores.csv", "scores.jsonl", "scores.csv.part"])
def test_a_pipe_is_no_table(weights, folder, tmp_path, name):
    os.mkfifo(tmp_path / name)
    out = tmp_path / name.removesuffix(".part")
    with pytest.raises(ScoreTableError, match=rf"{name}: expected .* found a named pipe"):
        score.main(score.Settings((folder / "0.png",), out, str(weights)))


@pytest.mark.parametrize("name", ["A.CSV", "A.JsonL", "A.PARQUET"])
def test_suffixes_in_capitals(weights, folder, tmp_path, name):
    settings = score.Settings((folder / "0.png",), tmp_path / name, str(weights))
    assert score.main(settings) == 0
    assert score.main(settings) == 0
    assert [row["path"] for row in read_rows(tmp_path / name)] == [str(folder / "0.png")]


def test_a_killed_run_goes_on(weights, folder, tmp_path):
    """Kill -9 in the middle; the second run ends with the table of an undisturbed one."""
    code = """if True:
        import os, signal, sys
        from pathlib import Path
        import torch
        from attiqa.cli import score
        from attiqa.scoring.tables import ScoreJournal
        torch.set_num_threads(1)  # as here: sums in another order differ in the last digit
        append, calls = ScoreJournal.append, []
        def killed(journal, rows):
            if len(calls) == 2:
                with journal.part.open("a") as lines:
                    lines.write('{"path": "half a li')
                os.kill(os.getpid(), signal.SIGKILL)
            calls.append(append(journal, rows))
        ScoreJournal.append = killed
        folder, out, model = sys.argv[1:]
        score.main(score.Settings((Path(folder),), Path(out), model, batch_size=3))
    """
    out, whole = tmp_path / "scores.csv", tmp_path / "whole.csv"
    root = str(Path(attiqa.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", code, folder, out, weights],
        env={**os.environ, "PYTHONPATH": root},
        check=False,
    )
    assert run.returncode == -signal.SIGKILL
    assert not out.exists()
    assert len((tmp_path / "scores.csv.part").read_text().splitlines()) == 7
    assert score.main(score.Settings((folder,), out, str(weights), batch_size=3)) == 1
    score.main(score.Settings((folder,), whole, str(weights), batch_size=3))
    assert out.read_bytes() == whole.read_bytes()
    assert not out.with_name("scores.csv.part").exists()


def test_scores_of_another_model_are_not_mixed_in(weights, folder, tmp_path):
    out = tmp_path / "scores.csv"
    score.main(score.Settings((folder / "0.png",), out, str(weights)))
    with pytest.raises(ScoreTableError, match=r"scores\.csv: holds scores of tiny"):
        score.main(score.Settings((folder / "0.png",), out))


def test_names_with_commas_quotes_and_newlines_come_back(model, tmp_path):
    names = ['a, "b".png', "ä\nö.png", " c .png"]
    journal = ScoreJournal(tmp_path / "scores.csv", model.card)
    for name in names:
        file = folder_scoring.FileScore(Path(name), 40, 50, 0.1, (0.1, 0.2, 0.3, 0.4, 1e-7))
        journal.append([table_row(file, model.card)])
    rows = list(journal.rows())
    journal.finish()
    assert [row["path"] for row in read_rows(tmp_path / "scores.csv")] == names
    assert list(read_rows(tmp_path / "scores.csv")) == rows


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_file_names_that_are_no_text(weights, folder, tmp_path, monkeypatch, suffix):
    """Names are bytes on Linux; the second run recognises them in the finished table."""
    scored, broken = os.fsdecode(b"\xff.png"), os.fsdecode(b"\xe4.jpg")
    shutil.copy(folder / "0.png", folder / scored)
    shutil.copy(folder / "broken.jpg", folder / broken)
    settings = score.Settings((folder,), tmp_path / f"scores{suffix}", str(weights))
    assert score.main(settings) == 1
    rows = {Path(str(row["path"])).name: row for row in read_rows(tmp_path / f"scores{suffix}")}
    assert rows[r"\udcff.png"]["score"] == rows["0.png"]["score"]
    assert r"\udce4.jpg" in str(rows[r"\udce4.jpg"]["error"])
    asked = []

    def recorded(model, paths, *args):
        asked.extend(path.name for path in paths)
        return score_files(model, paths, *args)

    monkeypatch.setattr(scoring, "score_files", recorded)
    score.main(settings)
    assert sorted(asked) == sorted(["broken.jpg", "dot.png", broken])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ä b.png", "ä b.png"),
        (os.fsdecode(b"a\xffb\x80"), r"a\udcffb\udc80"),
        (r"a\udcff", r"a\u005cudcff"),
        (r"a\u005cudcff", r"a\u005cu005cudcff"),
        (r"C:\users\u1\xff", r"C:\users\u1\xff"),
    ],
)
def test_names_in_tables_lead_back_to_the_files(name, text):
    assert table_text(name) == text
    assert named_file(text) == name


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("attributes", [("brightness",), ("quality",)])
def test_a_model_of_a_single_attribute(tiny, model, folder, tmp_path, attributes, suffix):
    architecture = replace(tiny, attributes=attributes)
    card = replace(model.card, architecture=architecture, attributes=attributes)
    single = QualityModel(QualityNet(AttributeNet(architecture)), card)
    journal = ScoreJournal(tmp_path / f"scores{suffix}", card)
    paths = [folder / name for name in ("0.png", "broken.jpg")]
    for files in score_files(TorchScorer(single), paths):
        journal.append([table_row(file, card) for file in files])
    journal.finish()
    scored, failed = read_rows(journal.out)
    assert list(scored) == table_schema(attributes).names
    expected = single.score(paths[0]).attributes[0, 0].item()
    assert scored[attributes[0]] == pytest.approx(expected, abs=1e-5)
    assert failed[attributes[0]] is None
    assert ScoreJournal(journal.out, card).done == {str(paths[0])}


@pytest.mark.parametrize("name", ["scores.txt", "scores"])
def test_an_unknown_table_is_refused(model, tmp_path, name):
    with pytest.raises(ScoreTableError, match=r"\.csv.*\.jsonl.*\.parquet"):
        ScoreJournal(tmp_path / name, model.card)
