"""A table of scores as a teacher."""

import logging

import pytest
from PIL import Image

from attiqa.cli import label as command
from attiqa.cli import pretrain
from attiqa.cli.settings.label import Settings
from attiqa.errors import DatasetLayoutError, LabelStoreError, SettingsError, TeacherError
from attiqa.labels.loading import Loading
from attiqa.labels.score_table import read_score_table
from attiqa.labels.store import read_labels
from attiqa.training.settings import PretrainSettings, Schedule

FAST = Loading(batch_size=2, workers=0)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.png", "c.png"):
        Image.new("RGB", (40, 30), "red").save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def test_a_table_of_one_score_labels_a_folder(folder, tmp_path, caplog):
    table = tmp_path / "scores.csv"
    table.write_text("name,score,other\nsub\\B.png,2.5,1\na.png,-1,1\nz.png,0,0\n")
    settings = Settings(folder, tmp_path / "store", "table", table, loading=FAST)
    settings.check()
    with caplog.at_level(logging.WARNING):
        command.main(settings)
    labels = read_labels(tmp_path / "store")
    assert labels.paths == ("a.png", "sub/b.png")
    assert labels.deltas.tolist() == [[-1], [2.5]]
    assert labels.attributes == ("score",)
    assert "scores.csv has no row" in labels.rejects["c.png"]
    assert "1 photographs without a row: c.png" in caplog.text
    assert "1 rows without a photograph: z.png" in caplog.text
    teacher = labels.manifest["teacher"]
    assert (teacher["teacher"], teacher["columns"]) == ("table scores.csv", ["score"])
    assert labels.manifest["cut"] is None
    command.main(settings)  # nothing to do
    table.write_text(table.read_text().replace("2.5", "2.6"))
    with pytest.raises(LabelStoreError, match=r"teacher\.sha256 was"):
        command.main(settings)


def test_what_attiqa_score_writes_can_be_a_teacher(folder, tmp_path):
    """Its column of names is called path; the five attributes are taken, or what is asked for."""
    table = tmp_path / "scores.csv"
    header = "path,score,sharpness,contrast,brightness,colorfulness,noisiness,direction"
    rows = [f"{name},9,1,2,3,4,5,higher is better" for name in ("a.png", "sub/b.png", "c.png")]
    table.write_text("\n".join([header, *rows]) + "\n")
    command.main(Settings(folder, tmp_path / "five", "table", table, loading=FAST))
    assert read_labels(tmp_path / "five").deltas.tolist() == [[1, 2, 3, 4, 5]] * 3
    chosen = Settings(
        folder, tmp_path / "two", "table", table, ("noisiness", "score"), loading=FAST
    )
    command.main(chosen)
    labels = read_labels(tmp_path / "two")
    assert labels.attributes == ("noisiness", "score")
    assert labels.deltas.tolist() == [[5, 9]] * 3


def test_scores_of_a_table_are_no_cosines_for_eq_2(folder, tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text(
        "name,score\n" + "".join(f"{p.name},1\n" for p in sorted(folder.rglob("*.png")))
    )
    command.main(Settings(folder, tmp_path / "store", "table", path, loading=FAST))
    eq2 = PretrainSettings(Schedule(), loss="eq2", distorted=0.0)
    wanted = pretrain.Settings(folder, labels=(tmp_path / "store",), pretraining=eq2, out=tmp_path)
    with pytest.raises(SettingsError, match="eq2 needs labels that are differences"):
        pretrain.main(wanted)


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("name,mos\na.png,1\n", (), r"no column \['score'\]"),
        ("file,score\na.png,1\n", (), r"no column \['name'\]"),
        ("name,score\na.png,good\n", (), "expected a number in each of score; a.png has good"),
        ("name,score\na.png,1\n./A.png,2\n", (), r"1 names occur twice.*\./A\.png"),
        ("name,sha256\na.png,1\n", ("sha256",), "expected none of .*found sha256"),
    ],
)
def test_tables_that_are_none(tmp_path, text, columns, message):
    path = tmp_path / "scores.csv"
    path.write_text(text)
    with pytest.raises(DatasetLayoutError, match=message):
        read_score_table(path, columns)


def test_a_table_of_other_photographs_is_refused(folder, tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("name,score\nphotos/a.png,1\n")
    settings = Settings(folder, tmp_path / "store", "table", path, loading=FAST)
    with pytest.raises(LabelStoreError, match=r"no row of any photograph.*such as a\.png"):
        command.main(settings)
    assert not (tmp_path / "store").exists()


def test_a_teacher_without_what_it_needs(folder, tmp_path):
    table = tmp_path / "scores.csv"
    table.touch()
    for wrong in (
        Settings(folder, tmp_path, "table"),
        Settings(folder, tmp_path, "clip", table),
        Settings(folder, tmp_path, columns=("score",)),
    ):
        with pytest.raises(TeacherError, match="--teacher table together with --table"):
            wrong.check()
    with pytest.raises(DatasetLayoutError, match="no such table of scores"):
        Settings(folder, tmp_path, "table", tmp_path / "none.csv").check()
