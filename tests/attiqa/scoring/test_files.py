import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import attiqa
from attiqa.attributes import ATTRIBUTES
from attiqa.cli import score
from attiqa.data.views import CropProtocol
from attiqa.errors import AttiqaError, ImageFileError
from attiqa.model.checkpoints import save_checkpoint
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.model.quality_model import QualityModel, load_model
from attiqa.scoring import files as folder_scoring
from attiqa.scoring.files import score_files
from attiqa.scoring.tables import (
    ScoreJournal,
    ScoreTableError,
    named_file,
    read_rows,
    table_row,
    table_schema,
    table_text,
)


@pytest.fixture
def model(tiny, tiny_net, small) -> QualityModel:
    with torch.no_grad():
        for _ in range(20):
            tiny_net(small)  # statistics of batch normalisation that spread the scores
    card = load_model().card
    protocol = CropProtocol(short_side=72, crop=64)
    card = replace(card, name="tiny", architecture=tiny, protocol=protocol)
    return QualityModel(tiny_net, card)


@pytest.fixture
def weights(model, tmp_path) -> Path:
    return save_checkpoint(tmp_path / "model", model.net, model.card)


@pytest.fixture
def folder(tmp_path, photo) -> Path:
    """Twelve photographs of several sizes, one of which is broken and one too small."""
    root = tmp_path / "photos"
    (root / "more").mkdir(parents=True)
    for index in range(10):
        crop = photo[17 * index : 200 + 13 * index, 11 * index : 300 - 10 * index]
        Image.fromarray(crop).save(root / ("more" if index % 2 else ".") / f"{index}.png")
    (root / "broken.jpg").write_bytes(b"\xff\xd8 no photograph")
    Image.new("RGB", (1, 1)).save(root / "dot.png")
    (root / "notes.txt").write_text("not an image")
    return root


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.*") if path.suffix != ".txt")


@pytest.mark.parametrize(("batch", "workers"), [(1, 1), (5, 2), (64, 3)])
def test_files_score_as_alone_in_the_order_given(model, folder, batch, workers):
    paths = files_in(folder)[::-1]
    rows = [row for rows in score_files(model, paths, batch, workers) for row in rows]
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
    for rows in score_files(model, iter([path] * 60), batch=4, workers=2):
        scored += rows
        assert len(started) - len(scored) <= 4 + 2
    assert len(scored) == 60


def test_a_model_that_gives_no_number_gives_an_error(model, folder):
    model.net.regressor[-1].bias.data.fill_(float("nan"))
    ((row,),) = score_files(model, [folder / "0.png"])
    assert row.score is None
    assert "nan" in row.error


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

    monkeypatch.setattr(score, "score_files", recorded)
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


@pytest.mark.parametrize(("batch", "workers"), [(0, 1), (-1, 1), (1, 0), (1, -3)])
def test_numbers_below_1_are_refused(weights, folder, batch, workers):
    settings = score.Settings((folder,), None, str(weights), batch=batch, workers=workers)
    with pytest.raises(AttiqaError, match=r"--\w+ -?\d: expected a number of 1 or more"):
        score.main(settings)


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
        score.main(score.Settings((Path(folder),), Path(out), model, batch=3))
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
    assert score.main(score.Settings((folder,), out, str(weights), batch=3)) == 1
    score.main(score.Settings((folder,), whole, str(weights), batch=3))
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

    monkeypatch.setattr(score, "score_files", recorded)
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
    for files in score_files(single, paths):
        journal.append([table_row(file, card) for file in files])
    journal.finish()
    scored, failed = read_rows(journal.out)
    assert list(scored) == table_schema(attributes).names
    expected = single.score(paths[0]).attributes[0, 0].item()
    assert scored[attributes[0]] == pytest.approx(expected, abs=1e-5)
    assert failed[attributes[0]] is None
    assert ScoreJournal(journal.out, card).done == {str(paths[0])}


def test_a_model_of_a_single_attribute_is_printed(tiny, model, folder, monkeypatch, capsys):
    architecture = replace(tiny, attributes=("quality",))
    card = replace(model.card, architecture=architecture, attributes=("quality",))
    single = QualityModel(QualityNet(AttributeNet(architecture)), card)
    monkeypatch.setattr(score, "load_model", lambda *_: single)
    assert score.main(score.Settings((folder / "0.png",))) == 0
    assert f"{single.score(folder / '0.png').attributes.item():.3f}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["scores.txt", "scores"])
def test_an_unknown_table_is_refused(model, tmp_path, name):
    with pytest.raises(ScoreTableError, match=r"\.csv.*\.jsonl.*\.parquet"):
        ScoreJournal(tmp_path / name, model.card)


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
    ((row,),) = score_files(model, [tmp_path / "large.jpg"])
    assert (row.width, row.height) == (8000, 6000)
    assert row.score is not None


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own record of the peak is read")
def test_100_megapixels_take_eight_bytes_each(photo, tmp_path):
    """Decoded in a thread, as in a folder: seven bytes, and what the allocator keeps."""
    code = """if True:
        import sys
        from pathlib import Path
        from attiqa.scoring.files import score_files
        from attiqa.model.quality_model import load_model
        def peak():  # of this program; ru_maxrss may be that of the program that started it
            lines = Path("/proc/self/status").read_text().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
        model, peaks = load_model(), []
        for name in sys.argv[1:]:
            ((row,),) = score_files(model, [Path(name)])
            assert row.score is not None, row.error
            peaks.append(peak())
        print(1024 * (peaks[1] - peaks[0]))
    """
    image = Image.fromarray(photo)
    image.save(tmp_path / "small.jpg")
    image.resize((10_000, 10_000)).save(tmp_path / "large.jpg")
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "small.jpg", tmp_path / "large.jpg"],
        env={**os.environ, "PYTHONPATH": str(Path(attiqa.__file__).parents[1])},
        check=True,
        capture_output=True,
        text=True,
    )
    assert int(run.stdout) < 8 * 10_000 * 10_000
