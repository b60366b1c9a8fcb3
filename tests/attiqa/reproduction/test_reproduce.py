"""`attiqa reproduce` whole: every table on miniatures; killed, shared and refused folders."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from safetensors.torch import load_file, save_file
from scipy import stats

from attiqa.cli import reproduce
from attiqa.cli.settings.reproduce import Settings
from attiqa.errors import AttiqaError, CheckpointError
from attiqa.reproduction import cells, run
from attiqa.reproduction.plan_file import PlanFileError


def settings(plan: Path, *items, **changes) -> Settings:
    folder = plan.parent
    plain = {"device": "cpu", "cache": folder / "pixels", "threads": 1, "out": folder / "out"}
    return Settings(items, plan, **plain | changes)


def small_reproduction(plan_file, *datasets: str) -> Path:
    return plan_file(*datasets, teacher="measured", set_aside=0.4, splits=1)


def table(plan: Path, item: str, out: str = "out") -> dict[tuple[str, str, str], dict]:
    with (plan.parent / out / "tables" / f"{item}.csv").open(newline="") as file:
        return {(r["row"], r["column"], r["metric"]): r for r in csv.DictReader(file)}


@pytest.mark.slow
def test_every_table_of_the_paper(everything, capsys):
    assert reproduce.main(settings(everything, "all")) == 0
    found = {item: table(everything, item) for item in reproduce.ITEMS}
    assert not [r for rows in found.values() for r in rows.values() if r["lacks"]]

    ours = found["table2"]["ATTIQA", "clive", "SROCC"]
    assert (ours["done"], ours["wanted"], ours["paper"]) == ("1", "1", "0.898")
    assert float(ours["difference"]) == pytest.approx(float(ours["ours"]) - 0.898)
    rows = {row for row, *_ in found["table2"]}
    assert {"ImageNet", "ATTIQA (human perception)", "MUSIQ"} <= rows
    assert found["table2"]["MUSIQ", "koniq", "PLCC"]["paper"] == "0.928"
    assert found["table2"]["MUSIQ", "koniq", "PLCC"]["ours"] == ""

    # the number of a cell, from the predictions that it kept, by another program
    with (
        (everything.parent / "out" / "predictions")
        .joinpath("fine-tune-ATTIQA-koniq-split-1.csv")
        .open(newline="") as file
    ):
        predicted = list(csv.DictReader(file))
    tested = [r for r in predicted if (r["data"], r["part"]) == ("KonIQ-10k", "test")]
    rho = stats.spearmanr([float(r["score"]) for r in tested], [float(r["mos"]) for r in tested])
    assert float(found["table2"]["ATTIQA", "koniq", "SROCC"]["ours"]) == pytest.approx(rho[0])
    across = [r for r in predicted if r["data"] == "CLIVE"]
    rho = stats.spearmanr([float(r["score"]) for r in across], [float(r["mos"]) for r in across])
    assert len(across) == 30
    assert float(found["table3"]["ATTIQA", "koniq to clive", "SROCC"]["ours"]) == pytest.approx(
        rho[0]
    )
    assert len([key for key in found["table3"] if key[0] == "ATTIQA, test parts"]) == 12

    assert found["table4"]["ATTIQA", "spaq, 20 %", "SROCC"]["paper"] == "0.917"
    assert found["table5"]["ATTIQA", "koniq", "cosine"]["paper"] == "0.811"
    assert {"ATTIQA", "ATTIQA, heads", "ATTIQA, ridge", "ImageNet"} <= {
        r for r, *_ in found["table6"]
    }
    for reading in ("most inverted", "least informative"):
        row = found["table7"][f"worst prompt ({reading})", "clive", "SROCC"]
        assert (row["paper"], row["done"]) == ("0.869", "1")
    assert found["table7"]["L2 loss", "spaq", "PLCC"]["paper"] == "0.928"
    assert found["agiqa"]["ATTIQA", "agiqa3k", "SROCC"]["paper"] == "0.854"
    assert found["agiqa"]["ATTIQA, trained on koniq alone", "agiqa3k", "SROCC"]["ours"]
    assert float(found["pairs"]["ATTIQA", "generated pairs", "accuracy"]["ours"]) in (0, 0.5, 1)
    assert found["table1"]["sharpness", "Table 1's", "negative"]["ours"] == "Blurry image"
    assert 1 <= int(found["table1"]["sharpness", "Table 1's", "rank"]["ours"]) <= 2500

    said = capsys.readouterr().out
    assert "Ablations" in said
    text = (everything.parent / "out" / "tables" / "table2.md").read_text()
    assert re.search(r"\| ATTIQA \| \*\*-?0\.\d{3}\*\* \(0\.898, [-+]\d\.\d{3}\)", text)
    record = json.loads((everything.parent / "out" / "tables" / "table2.json").read_text())
    assert len(record["splits_sha256"]["koniq, split 1"]) == 64
    assert record["settings"]["finetuning"]["schedule"]["epochs"] == 1
    assert (everything.parent / "out" / "tables" / "table7.png").stat().st_size > 10_000

    # of nothing that is done anything is done again
    before = {p: p.stat().st_mtime_ns for p in (everything.parent / "out" / "cells").iterdir()}
    assert reproduce.main(settings(everything, "table2", "table7")) == 0
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_a_killed_reproduction_ends_as_if_nothing_had_been(plan_file, monkeypatch):
    plan = small_reproduction(plan_file, "koniq")
    assert reproduce.main(settings(plan, "table4", out=plan.parent / "whole")) == 0
    begun = []

    def killed(*arguments, **more):
        begun.append(arguments)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return one_split(*arguments, **more)

    one_split = cells.one_split
    monkeypatch.setattr(cells, "one_split", killed)
    with pytest.raises(KeyboardInterrupt):
        reproduce.main(settings(plan, "table4"))
    assert len(list((plan.parent / "out" / "cells").glob("fine-tune*"))) == 1
    assert table(plan, "table4")["ATTIQA", "koniq, 10 %", "SROCC"]["done"] == "1"
    assert table(plan, "table4")["ATTIQA", "koniq, 20 %", "SROCC"]["done"] == "0"
    monkeypatch.setattr(cells, "one_split", one_split)
    assert reproduce.main(settings(plan, "table4")) == 0
    assert table(plan, "table4") == table(plan, "table4", "whole")


def test_data_sets_and_splits_may_be_added_and_settings_not(plan_file):
    plan = small_reproduction(plan_file, "koniq")
    assert reproduce.main(settings(plan, "table6")) == 0
    text = plan.read_text()
    plan.write_text(text.replace("hidden: 8", "hidden: 9"))
    with pytest.raises(CheckpointError, match=r"probe\.hidden was 8, now 9"):
        reproduce.main(settings(plan, "table6"))
    plan.write_text(text)
    labels = plan.parent / "koniq" / "koniq10k_distributions_sets.csv"
    before = labels.read_text()
    labels.write_text(before.replace(",1.0,", ",2.0,"))
    with pytest.raises(CheckpointError, match="labels was"):
        reproduce.main(settings(plan, "table6"))
    labels.write_text(before)
    plan.write_text(text.replace("splits: 1", "splits: 2"))
    assert reproduce.main(settings(plan, "table4")) == 0
    assert table(plan, "table4")["ATTIQA", "koniq, 10 %", "SROCC"]["done"] == "2"


def test_other_weights_of_a_baseline_are_refused(plan_file):
    baseline = {"init": "init.safetensors", "backbone": "test_efficientnet"}
    plan = plan_file("koniq", baselines={"ImageNet": baseline})
    reproduce.opened(settings(plan))
    weights = plan.parent / "init.safetensors"
    tensors = load_file(weights)
    save_file({name: value + 1 for name, value in tensors.items()}, weights)
    with pytest.raises(CheckpointError, match=r"baseline ImageNet: .* weights was"):
        reproduce.opened(settings(plan))


def test_a_cell_that_another_process_computes_is_waited_for(plan_file, monkeypatch):
    plan = small_reproduction(plan_file, "koniq")
    wanted = settings(plan, "table6")
    laboratory = reproduce.opened(wanted)
    cell = cells.Cell("probe", "ATTIQA", "koniq")
    lock = FileLock(run.lock_file(laboratory, cell))
    lock.acquire()
    assert run.state(laboratory, cell) == "running"
    waited = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        lock.release()

    monkeypatch.setattr(run.time, "sleep", sleep)
    assert reproduce.main(wanted) == 0
    assert len(waited) == 1
    assert run.state(laboratory, cell) == "done"


def test_one_broken_photograph_does_not_cost_the_other_data_sets(plan_file, capsys):
    plan = small_reproduction(plan_file, "koniq", "clive")
    laboratory = reproduce.opened(settings(plan, "table4"))
    broken = laboratory.photos("clive").paths[0]
    broken.write_bytes(b"no picture")
    assert reproduce.main(settings(plan, "table4")) == 1
    said = capsys.readouterr().out
    assert f"failed: fine-tune, ATTIQA, clive, 10 %, split 1: {broken}: cannot be read" in said
    found = table(plan, "table4")
    assert found["ATTIQA", "koniq, 10 %", "SROCC"]["done"] == "1"
    assert found["ATTIQA", "clive, 10 %", "SROCC"]["done"] == "0"


def test_a_dry_run_computes_nothing_and_names_what_is_lacking(plan_file, capsys):
    plan = plan_file("koniq")
    assert reproduce.main(settings(plan, "all", dry_run=True)) == 0
    said = " ".join(capsys.readouterr().out.split())
    for what in ("clean", "unlabelled", "clive", "pairs"):
        assert what in said
    assert not (plan.parent / "out" / "cells").exists()
    with pytest.raises(PlanFileError, match=r"nothing can be computed without .*unlabelled"):
        reproduce.main(settings(plan, "table2"))


def test_what_is_set_aside_is_never_trained_or_tested_on(plan_file):
    plan = small_reproduction(plan_file, "koniq")
    assert reproduce.main(settings(plan, "table4")) == 0
    laboratory = reproduce.opened(settings(plan, "table4"))
    rated = set(laboratory.photos("koniq").names)
    folder = laboratory.unlabelled_folder() / "koniq"
    aside = {path.resolve().name for path in folder.iterdir()}
    assert (len(rated), len(aside)) == (18, 12)
    assert rated.isdisjoint(aside)
    split = laboratory.photos("koniq").split
    assert split is not None
    parts = np.concatenate([split.train, split.validation, split.test])
    assert sorted(parts) == list(range(18))  # the official division follows


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unlabelled": "nowhere"}, r"unlabelled: .*nowhere: no such file or folder"),
        ({"splitts": 3}, "did you mean 'splits'"),
        ({"datasets": {"koniqq": "x"}}, "did you mean 'koniq'"),
        ({"datasets": ["koniq"]}, "expected at least `datasets:`"),
        ({"network": {"backbone": 3}}, "expected str, found 3"),
    ],
)
def test_mistakes_in_the_file_are_named(plan_file, change, said):
    with pytest.raises(AttiqaError, match=said):
        reproduce.main(settings(plan_file("koniq", **change), "table2"))


@pytest.mark.parametrize("device", ["cuda:99", "cpu:x"])
def test_a_device_that_is_not_there(plan_file, device):
    with pytest.raises(AttiqaError, match="device"):
        reproduce.main(settings(plan_file("koniq"), "table2", device=device))
