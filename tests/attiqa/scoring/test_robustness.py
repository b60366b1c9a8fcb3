"""`attiqa score` when something goes wrong: one message, and nothing that was scored is lost."""

import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import attiqa
from attiqa.cli import score
from attiqa.data.crop_protocol import CropProtocol
from attiqa.files import companion
from attiqa.model.checkpoints import save_checkpoint
from attiqa.model.quality_model import QualityModel, load_model
from attiqa.scoring import in_torch, tables
from attiqa.scoring import run as scoring
from attiqa.scoring.files import score_files
from attiqa.scoring.in_torch import TorchScorer
from attiqa.scoring.tables import ScoreJournal, ScoreTableError, read_rows

ROOT = str(Path(attiqa.__file__).parents[1])


@pytest.fixture
def model(tiny, tiny_net) -> QualityModel:
    protocol = CropProtocol(short_side=36, crop=32)
    card = replace(load_model().card, name="tiny", architecture=tiny, protocol=protocol)
    return QualityModel(tiny_net, card)


@pytest.fixture
def weights(model, tmp_path) -> Path:
    return save_checkpoint(tmp_path / "model", model.net, model.card)


@pytest.fixture
def folder(tmp_path, photo) -> Path:
    root = tmp_path / "photos"
    root.mkdir()
    for index in range(6):
        Image.fromarray(photo[20 * index :][:60, :80]).save(root / f"{index}.png")
    return root


@pytest.fixture
def settings(folder, tmp_path, weights) -> score.Settings:
    return score.Settings((folder,), tmp_path / "scores.csv", str(weights))


def scored(path: Path, suffix: str = "") -> dict[str, object]:
    rows = read_rows(path, suffix)
    return {Path(str(row["path"])).name: row["error"] or row["score"] for row in rows}


@pytest.mark.parametrize(
    "error", [MemoryError(), AssertionError("a\nb"), KeyError("tag"), TypeError()]
)
@pytest.mark.parametrize("batch", [1, 4])
def test_an_unforeseen_error_is_one_files_alone(model, folder, monkeypatch, error, batch):
    read = in_torch.to_pixels

    def broken(path):
        if path.name == "2.png":
            raise error
        return read(path)

    monkeypatch.setattr(in_torch, "to_pixels", broken)
    batches = score_files(TorchScorer(model), sorted(folder.iterdir()), batch)
    rows = [row for rows in batches for row in rows]
    assert [row.path.name for row in rows if row.error] == ["2.png"]
    assert type(error).__name__ in rows[2].error
    assert "2.png" in rows[2].error
    assert "\n" not in rows[2].error


@pytest.mark.parametrize("batch", [1, 4])
def test_an_error_of_the_network_is_one_files_alone(model, folder, monkeypatch, batch):
    crops = model.score_crops
    bad = Image.fromarray(np.full((60, 80, 3), 255, np.uint8))
    bad.save(folder / "2.png")

    def broken(views):
        if (views > 0.999).all(dim=(1, 2, 3, 4)).any():
            raise RuntimeError("out of memory")
        return crops(views)

    monkeypatch.setattr(model, "score_crops", broken)
    batches = score_files(TorchScorer(model), sorted(folder.iterdir()), batch)
    rows = [row for rows in batches for row in rows]
    assert [row.path.name for row in rows if row.error] == ["2.png"]
    assert rows[2].error.endswith("2.png: RuntimeError: out of memory")
    assert (rows[2].width, rows[2].height) == (80, 60)


def test_a_full_disk_while_scoring(settings, monkeypatch):
    write, lines = tables._write_lines, []

    def full(write_line, rows):
        for row in rows:
            lines.append(row)
            if len(lines) == 4:
                write_line('{"path": "half a li')
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write(write_line, [row])

    monkeypatch.setattr(tables, "_write_lines", full)
    with pytest.raises(
        ScoreTableError, match=r"scores\.csv: cannot be written: No space left.*the"
    ):
        score.main(settings)
    monkeypatch.undo()
    part = settings.out.with_name("scores.csv.part")
    assert not settings.out.exists()
    asked = record(monkeypatch)
    assert score.main(settings) == 0
    assert asked == ["3.png", "4.png", "5.png"]
    assert len(scored(settings.out)) == 6
    assert not part.exists()


def record(monkeypatch) -> list[str]:
    asked = []

    def recorded(model, paths, *args):
        asked.extend(path.name for path in paths)
        return score_files(model, paths, *args)

    monkeypatch.setattr(scoring, "score_files", recorded)
    return asked


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_full_disk_at_the_end(settings, monkeypatch, suffix):
    settings = replace(settings, out=settings.out.with_suffix(suffix))
    name = "_write_csv" if suffix == ".csv" else "_write_parquet"

    def full(rows, schema, path):
        path.write_bytes(b"half a table")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tables, name, full)
    with pytest.raises(ScoreTableError, match=rf"the scores so far are in .*scores\{suffix}\.part"):
        score.main(settings)
    monkeypatch.undo()
    assert sorted(p.name for p in settings.out.parent.glob("scores*")) == [f"scores{suffix}.part"]
    asked = record(monkeypatch)
    assert score.main(settings) == 0
    assert asked == []
    assert len(scored(settings.out)) == 6


def test_a_table_that_is_continued_survives_a_full_disk(settings, monkeypatch):
    assert score.main(settings) == 0
    before = settings.out.read_bytes()

    def full(rows, path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tables, "_write_jsonl", full)
    with pytest.raises(ScoreTableError, match="No space left"):
        score.main(settings)
    assert settings.out.read_bytes() == before


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="limits of file sizes are POSIX's")
def test_a_limit_of_the_system(settings, folder, weights):
    """The kernel refuses to let the journal grow beyond two rows and a half."""
    score.main(settings)
    row = len(settings.out.read_bytes()) // 6
    settings.out.unlink()
    code = """if True:
        import resource, sys
        limit = int(sys.argv.pop(1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        from attiqa.cli.main import main
        main()
    """
    arguments = ["score", folder, "--out", settings.out, "--model", weights]
    run = start(code, str(4 * row), *arguments)
    assert run.returncode == 1
    assert "cannot be written: File too large" in said(run)
    assert "Traceback" not in said(run)
    assert not settings.out.exists()
    assert score.main(settings) == 0
    assert len(scored(settings.out)) == 6


def start(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": ROOT, "COLUMNS": "400", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, env=environment, check=False, capture_output=True, text=True, errors="replace"
    )


def said(run: subprocess.CompletedProcess[str]) -> str:
    return run.stdout + run.stderr


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_to(settings, monkeypatch, number):
    """Before the first photograph is scored."""
    opened = Path.open

    def refused(path, mode="r", *args, **options):
        if path.name.endswith(".part"):
            raise OSError(number, os.strerror(number))
        return opened(path, mode, *args, **options)

    monkeypatch.setattr(Path, "open", refused)
    monkeypatch.setattr(scoring, "score_files", None)
    with pytest.raises(ScoreTableError, match=r"scores\.csv: cannot be written: .*writable"):
        score.main(settings)


def test_outputs_that_cannot_be_tables(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "score_files", None)
    (tmp_path / "results.csv").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "file").touch()
    for name, reason in (
        ("results.csv", "found a folder"),
        ("results", "found a folder"),
        ("file/scores.csv", "cannot be written"),
        ("a" * 300 + ".csv", "cannot be written: File name too long"),
    ):
        with pytest.raises(ScoreTableError, match=reason):
            score.main(replace(settings, out=tmp_path / name))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_table_of_something_else_is_not_touched(settings, tmp_path, suffix):
    path = tmp_path / f"other{suffix}"
    table = pd.DataFrame({"path": ["a"], "stars": [1]})
    {
        ".csv": lambda: table.to_csv(path, index=False),
        ".jsonl": lambda: table.to_json(path, orient="records", lines=True),
        ".parquet": lambda: table.to_parquet(path),
    }[suffix]()
    before = path.read_bytes()
    with pytest.raises(ScoreTableError, match=rf"other\{suffix}: expected a table of scores"):
        score.main(replace(settings, out=path))
    assert path.read_bytes() == before
    assert not path.with_name(f"{path.name}.part").exists()


def test_ctrl_c_keeps_the_journal(settings, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "400")

    def interrupted(model, paths, *args):
        for index, rows in enumerate(score_files(model, paths, *args)):
            if index == 2:
                raise KeyboardInterrupt
            yield rows

    monkeypatch.setattr(scoring, "score_files", interrupted)
    assert score.main(settings) == 130
    said = capsys.readouterr().out
    assert "interrupted: 2 of 6 files are in" in said
    assert "scores.csv.part; the same command continues" in said
    monkeypatch.undo()
    asked = record(monkeypatch)
    assert score.main(settings) == 0
    assert asked == ["2.png", "3.png", "4.png", "5.png"]


def test_ctrl_c_in_the_middle_of_a_row(settings, monkeypatch, capsys):
    append = ScoreJournal.append

    def torn(journal, rows):
        if "3.png" in str(rows):
            with journal.part.open("a") as lines:
                lines.write('{"path": "half a li')
            raise KeyboardInterrupt
        append(journal, rows)

    monkeypatch.setattr(ScoreJournal, "append", torn)
    assert score.main(settings) == 130
    assert "interrupted: 3 of 6" in capsys.readouterr().out


def test_ctrl_c_without_a_table_prints_what_there_is(settings, monkeypatch, capsys):
    def interrupted(model, paths, *args):
        yield next(iter(score_files(model, paths, *args)))
        raise KeyboardInterrupt

    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(scoring, "score_files", interrupted)
    assert score.main(replace(settings, out=None)) == 130
    said = capsys.readouterr().out
    assert "0.png" in said
    assert "interrupted: 1 of 6 files are scored" in said


def test_a_real_ctrl_c_ends_with_130(settings, folder, weights):
    code = """if True:
        import os, signal
        from attiqa.scoring.tables import ScoreJournal
        append, calls = ScoreJournal.append, []
        def signalled(journal, rows):
            append(journal, rows)
            calls.append(1)
            if len(calls) == 2:
                os.kill(os.getpid(), signal.SIGINT)
        ScoreJournal.append = signalled
        from attiqa.cli.main import main
        main()
    """
    run = start(code, "score", folder, "--out", settings.out, "--model", weights)
    assert run.returncode == 130
    assert "the same command continues" in said(run)
    assert "Traceback" not in said(run)
    assert len(scored(settings.out.with_name("scores.csv.part"), ".jsonl")) == 2


def test_output_names_of_255_bytes(settings, tmp_path):
    out = tmp_path / ("ä" * 125 + "a.csv")
    assert len(os.fsencode(out.name)) == 255
    for path in (out, tmp_path / ("b" * 249 + ".jsonl")):
        assert score.main(replace(settings, out=path)) == 0
        assert len(scored(path)) == 6
        assert score.main(replace(settings, out=path)) == 0


@pytest.mark.parametrize(
    "name", ["a" * 251 + ".csv", "ä" * 125 + "a.csv", os.fsdecode(b"\xff" * 251) + ".csv"]
)
def test_names_beside_long_names(name):
    found = companion(Path("folder") / name, ".part")
    assert found.parent == Path("folder")
    assert found.name.endswith(".part")
    assert len(os.fsencode(found.name)) <= 255
    other = companion(Path("folder") / f"{name[:-5]}b.csv", ".part")
    assert other != found


def test_photographs_of_odd_names(settings, folder, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "2000")
    odd = ["x" * 251 + ".png", "[red]a[ b.png", "ä\nb.png", os.fsdecode(b"\xff\xfe.png")]
    for name in odd:
        (folder / name).write_bytes((folder / "0.png").read_bytes())
    (folder / os.fsdecode(b"[bold]\xe4.png")).write_bytes(b"broken")
    for suffix in (".parquet", ".jsonl", ".csv"):
        out = folder.parent / (os.fsdecode(b"t\xff") + suffix)
        capsys.readouterr()
        assert score.main(replace(settings, out=out)) == 1
    said = capsys.readouterr().out
    assert "[red]a[ b.png" in said
    assert r"[bold]\udce4.png" in said
    assert r"t\udcff.csv" in said
    found = scored(out)
    assert found[odd[0]] == found["0.png"]
    assert score.main(replace(settings, out=None)) == 1


def test_a_pipe_is_refused_without_waiting(settings, folder):
    os.mkfifo(folder.parent / "x.jpg")
    settings = replace(settings, paths=(folder.parent / "x.jpg", folder / "0.png"))
    assert score.main(settings) == 1
    found = scored(settings.out)
    assert "expected an image file, found a named pipe" in str(found["x.jpg"])
    assert isinstance(found["0.png"], float)


def test_torch_is_left_as_it_was(model, folder):
    """Errors of one batch must not leave the inference mode on."""
    list(score_files(TorchScorer(model), [folder / "0.png"]))
    assert not torch.is_inference_mode_enabled()
