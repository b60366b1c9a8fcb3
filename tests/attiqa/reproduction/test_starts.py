"""The rows of the tables: who labels, by which loss, from which weights."""

from pathlib import Path

from attiqa.reproduction.items import Cell, cross_sets, entries
from attiqa.reproduction.laboratory import contents, lacking, needs
from attiqa.reproduction.plan_file import Baseline, Plan
from attiqa.reproduction.run import with_needs
from attiqa.reproduction.starts import Labelling, starts

BASELINE = {"ImageNet": Baseline(Path("init"), "resnet50", (0.5, 0.5, 0.5))}


def test_rows_of_a_clip_teacher():
    rows = starts(Plan({}, baselines=BASELINE))
    labels = {name: row.labelling for name, row in rows.items()}
    assert labels["ATTIQA"] == labels["L2 loss"] == Labelling("paper")
    assert labels["ATTIQA (human perception)"] == Labelling("selected", "best", "human")
    assert labels["worst prompt (most inverted)"] == Labelling("selected", "worst", "sum")
    assert labels["worst prompt (least informative)"] == Labelling("selected", "least-informative")
    losses = {name: row.pretraining and row.pretraining.loss for name, row in rows.items()}
    assert losses.pop("L2 loss") == "eq2"
    assert losses.pop("ImageNet") is None
    assert set(losses.values()) == {"ranking"}
    assert rows["single prompt"].architecture.attributes == ("quality",)
    assert rows["ImageNet"].architecture.mean == (0.5, 0.5, 0.5)
    assert starts(Plan({}, prompts="selected"))["ATTIQA"].labelling == Labelling("selected")


def test_rows_of_measurements_have_no_prompts():
    rows = starts(Plan({}, teacher="measured"))
    assert set(rows) == {"ATTIQA", "L2 loss", "single attribute (sharpness)"}
    assert rows["L2 loss"].pretraining is not None
    assert rows["L2 loss"].pretraining.loss == "standardised"
    assert rows["single attribute (sharpness)"].attributes == ("sharpness",)


def test_what_a_cell_needs_comes_first_and_once():
    plan = Plan({"koniq": Path("k")}, splits=2)
    wanted = [cell for entry in entries("table2", plan) for cell in entry.cells]
    cells = with_needs(plan, wanted)
    assert len(cells) == len(set(cells))
    for place, cell in enumerate(cells):
        assert all(cells.index(need) < place for need in needs(plan, cell))
    tuned = Cell("fine-tune", "ATTIQA (human perception)", "koniq", split=2)
    assert needs(plan, tuned) == [Cell("pretrain", "ATTIQA (human perception)")]
    (labels,) = needs(plan, needs(plan, tuned)[0])
    assert needs(plan, labels) == [Cell("prompts")]
    assert lacking(plan, tuned) == ["clean", "spaq", "unlabelled"]
    assert not needs(Plan({}, baselines=BASELINE), Cell("fine-tune", "ImageNet", "koniq", split=1))


def test_files_that_some_cells_depend_on_are_known_by_their_contents(tmp_path):
    weights, pairs, clean = tmp_path / "init", tmp_path / "pairs.csv", tmp_path / "clean"
    clean.mkdir()
    files = {"baseline ImageNet": weights, "pairs": pairs, "clean": clean / "1.png"}
    for path in files.values():
        path.write_bytes(b"first")
    plan = Plan({}, baselines={"ImageNet": Baseline(weights, "resnet50")}, pairs=pairs, clean=clean)
    for name, path in files.items():
        before = contents(plan)
        path.write_bytes(b"other")
        after = contents(plan)
        assert {key for key in before if before[key] != after[key]} == {name}
    assert not contents(Plan({}))


def test_only_rows_of_table_3_are_cross_sets():
    data = {name: Path(name) for name in ("koniq", "clive", "ava", "agiqa3k", "kadid")}
    plan = Plan(data, baselines=BASELINE)

    def tested(start: str, trained: str, share: int = 100) -> list[str]:
        return cross_sets(plan, Cell("fine-tune", start, trained, share, 1))

    assert tested("ATTIQA", "koniq") == tested("ImageNet", "koniq") == ["clive", "kadid"]
    assert not tested("ATTIQA", "koniq", 10)
    assert not tested("ATTIQA", "ava")
    assert not tested("L2 loss", "koniq")
