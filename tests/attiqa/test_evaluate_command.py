"""`attiqa evaluate` on thirty small photographs in a published layout, with a tiny network."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tyro
from PIL import Image
from scipy import stats

from attiqa.checkpoints import Card, Protocol, Scale, save_checkpoint
from attiqa.commands.evaluate import Settings, divide, main
from attiqa.datasets.crops import CropSettings
from attiqa.datasets.rated import RatedPhotos
from attiqa.errors import CheckpointError, DatasetLayoutError
from attiqa.finetuning import FinetuneSettings
from attiqa.models import AttributeNet, QualityNet
from attiqa.scoring import load_model
from attiqa.training import Schedule


@pytest.fixture
def folder(tmp_path) -> Path:
    random = np.random.default_rng(0)
    (tmp_path / "Images").mkdir()
    rows = ["Image Name,MOS"]
    for index in range(30):
        pixels = random.uniform(0, 60 + 6 * index, (80, 96, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "Images" / f"{index}.png")
        rows.append(f"{index}.png,{random.uniform():.4f}")
    (tmp_path / "Train (Images and MOS).csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def save(folder: Path, net: AttributeNet | QualityNet, tiny) -> str:
    kind = "QualityNet" if isinstance(net, QualityNet) else "AttributeNet"
    scale = Scale(0.0, 1.0, "test") if kind == "QualityNet" else None
    card = Card("model", kind, tiny, Protocol(72, 64), scale, "none", {}, {}, {}, {}, "")
    return str(save_checkpoint(folder, net, card))


def settings(folder: Path, model: str, protocol, **changes) -> Settings:
    schedule = Schedule(epochs=2, batch_size=4, crops=CropSettings(48, (64, 80)), workers=0)
    plain = Settings(
        protocol,
        folder,
        "biq2021-train",
        model=model,
        splits=2,
        short_side=72,
        crop=64,
        finetuning=FinetuneSettings(schedule),
        out=folder / "out",
    )
    return replace(plain, **changes)


def run(wanted: Settings) -> dict:
    main(wanted)
    return json.loads((wanted.out / "results.json").read_text())


def test_as_is_agrees_with_score(folder, tiny, tiny_net):
    model = save(folder, tiny_net, tiny)
    found = run(settings(folder, model, "as-is"))
    paths = [folder / "Images" / f"{index}.png" for index in range(30)]
    rows = (folder / "Train (Images and MOS).csv").read_text().splitlines()[1:]
    mos = [float(row.split(",")[1]) for row in rows]
    scores = load_model(model).score(paths).score.numpy()
    assert found["result"]["srocc"] == pytest.approx(stats.spearmanr(scores, mos)[0])
    assert found["result"]["srocc_low"] < found["result"]["srocc"] < found["result"]["srocc_high"]
    assert found["model_sha256"]


def test_fine_tuning_with_a_second_data_set_and_few_labels(folder, tiny, tiny_net):
    model = save(folder, tiny_net.attribute_net, tiny)
    wanted = settings(folder, model, "fine-tune", labels=0.5)
    found = run(wanted)
    assert [len(run["history"]) for run in found["runs"]] == [2, 2]
    first = found["runs"][0]["split"]
    assert first["train"] + first["validation"] == 15
    assert found["runs"][0]["split"]["sha256"] != found["runs"][1]["split"]["sha256"]
    assert found["summary"]["selected on validation"]["test"]["srocc"]["splits"] == 2
    assert not (wanted.out / "states").exists()


def test_probe_of_the_heads_and_without_validation(folder, tiny, tiny_net):
    model = save(folder, tiny_net, tiny)
    wanted = settings(folder, model, "linear-probe", features="heads", validation=0.0)
    found = run(wanted)
    assert found["summary"]["selected on validation"] is None
    assert found["runs"][0]["split"]["train"] == 24
    assert "alpha" in found["runs"][0]["history"][0]


def test_preferences_between_generated_images(folder, tiny, tiny_net):
    model = save(folder, tiny_net, tiny)
    names = [f"Images/{index}.png" for index in range(6)]
    scores = load_model(model).score([folder / name for name in names]).score
    preferred = [1.0 if scores[0] > scores[1] else 0.0, 0.5, float(scores[4] < scores[5])]
    lines = [f"{names[2 * i]},{names[2 * i + 1]},{preferred[i]}" for i in range(3)]
    table = folder / "pairs.csv"
    table.write_text("\n".join(["first,second,preference", *lines]) + "\n")
    found = run(settings(table, model, "pairs", out=folder / "out"))
    assert found["result"] == {"pair_accuracy": 0.5, "pairs": 2}  # right, undecided, wrong
    table.write_text("first,second\n")
    with pytest.raises(DatasetLayoutError, match=r"pairs\.csv"):
        main(settings(table, model, "pairs", out=folder / "out"))


def test_a_pretrained_network_cannot_be_measured_as_it_is(folder, tiny, tiny_net):
    model = save(folder, tiny_net.attribute_net, tiny)
    with pytest.raises(CheckpointError, match="no quality score"):
        main(settings(folder, model, "as-is"))


def test_the_official_split_is_asked_for_in_vain(folder):
    photos = RatedPhotos("made up", (folder,) * 3, np.arange(3.0), (0.0, 3.0))
    with pytest.raises(DatasetLayoutError, match="official"):
        divide(settings(folder, "embedded", "fine-tune", splits=0), photos)


def test_from_the_command_line(folder, tiny, tiny_net, capsys):
    arguments = ["linear-probe", str(folder), "--dataset", "biq2021-train", "--splits", "1"]
    arguments += ["--model", save(folder, tiny_net, tiny), "--out", str(folder / "out")]
    arguments += ["--others", "spaq=SPAQ", "koniq=KONIQ"]
    parsed = tyro.cli(Settings, args=arguments)
    assert parsed.finetuning == FinetuneSettings.paper()
    assert parsed.others == ("spaq=SPAQ", "koniq=KONIQ")
    main(replace(parsed, others=()))
    assert "SROCC" in capsys.readouterr().out
