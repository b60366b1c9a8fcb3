"""`attiqa evaluate` on thirty small photographs in a published layout, with a tiny network."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import tyro
from PIL import Image
from scipy import stats

from attiqa.attributes import ATTRIBUTES
from attiqa.cli.evaluate import Settings, main
from attiqa.data.crop_protocol import CropProtocol, CropSettings
from attiqa.data.datasets.spaq import read_spaq
from attiqa.data.rated_photos import RatedPhotos
from attiqa.data.splits import divide
from attiqa.data.views import views
from attiqa.errors import CheckpointError, DatasetLayoutError
from attiqa.model.cards import Card, Scale
from attiqa.model.checkpoints import save_checkpoint
from attiqa.model.inputs import to_tensor
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.model.quality_model import load_model
from attiqa.training.settings import FinetuneSettings, Schedule
from tests.attiqa.data.datasets.layouts import spaq_table


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


def save(folder: Path, net: AttributeNet | QualityNet, tiny, training: dict | None = None) -> str:
    kind = "QualityNet" if isinstance(net, QualityNet) else "AttributeNet"
    scale = Scale(0.0, 1.0, "test") if kind == "QualityNet" else None
    card = Card(
        "model", kind, tiny, CropProtocol(72, 64), scale, "none", training or {}, {}, {}, {}, ""
    )
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
        validation=0.1,
        finetuning=FinetuneSettings(schedule),
        cache=folder / "cache",
        out=folder / "out",
    )
    return replace(plain, **changes)


def run(wanted: Settings) -> dict:
    main(wanted)
    return json.loads((wanted.folder / "results.json").read_text())


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


def test_fine_tuning_with_few_labels(folder, tiny, tiny_net):
    model = save(folder, tiny_net.attribute_net, tiny)
    wanted = settings(folder, model, "fine-tune", labels=0.5)
    found = run(wanted)
    assert [len(run["history"]) for run in found["runs"]] == [2, 2]
    first = found["runs"][0]["split"]
    assert first["train"] + first["validation"] == 15
    assert found["runs"][0]["split"]["sha256"] != found["runs"][1]["split"]["sha256"]
    assert found["summary"]["selected on validation"]["test"]["srocc"]["splits"] == 2
    assert not (wanted.folder / "states").exists()
    drift = found["feature_drift"]
    means = [run["feature_drift"]["mean"] for run in found["runs"]]
    assert drift["median"] == pytest.approx(np.mean(means))  # of two
    assert max(means) < 0.9  # of a random network, whose batch statistics were none
    assert found["runs"][0]["feature_drift"]["photographs"] == first["test"]
    schedule = replace(
        wanted.finetuning.schedule, freeze_batch_statistics=True, backbone_lr=1e-9, epochs=1
    )
    slow = replace(wanted.finetuning, schedule=schedule)
    still = replace(wanted, splits=1, finetuning=slow, out=folder / "still")
    assert run(still)["feature_drift"]["median"] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("protocol", ["linear-probe", "fine-tune"])
def test_further_scales_are_tested(folder, tiny, tiny_net, protocol):
    model = save(folder, tiny_net.attribute_net, tiny)
    arguments = [protocol, str(folder), "--short-side", "72", "--crop", "64", "--further", "0"]
    assert tyro.cli(Settings, args=arguments).whole == CropProtocol(72, 64, (0,))
    schedule = Schedule(epochs=1, batch_size=8, crops=CropSettings(48, (64, 80)), workers=0)
    one = settings(folder, model, protocol, splits=1, finetuning=FinetuneSettings(schedule))
    found, further = (
        run(replace(one, further=more, out=folder / f"out{len(more)}"))["runs"][0]
        for more in ((), (0,))
    )
    assert found["history"][-1]["test/plcc"] != further["history"][-1]["test/plcc"]
    if protocol == "fine-tune":
        assert found["feature_drift"]["mean"] != further["feature_drift"]["mean"]


def koniq(folder: Path) -> Path:
    """Twelve photographs in the layout of KonIQ-10k, every third one of the official test part."""
    (folder / "koniq" / "512x384").mkdir(parents=True)
    rows = ["image_name,MOS,set"]
    for index in range(12):
        name = f"{index}.png"
        shutil.copy(folder / "Images" / name, folder / "koniq" / "512x384" / name)
        rows.append(f"{name},{30 + 3 * index},{('training', 'validation', 'test')[index % 3]}")
    (folder / "koniq" / "koniq10k_distributions_sets.csv").write_text("\n".join(rows) + "\n")
    return folder / "koniq"


def test_cross_dataset_results_are_of_the_others_official_test_part(folder, tiny, tiny_net):
    model, other = save(folder, tiny_net, tiny), koniq(folder)
    arguments = ["linear-probe", str(folder), "--dataset", "biq2021-train", "--splits", "2"]
    arguments += ["--model", model, "--others", f"koniq={other}", "--subset", "--crop", "64"]
    arguments += ["--short-side", "72", "--validation", "0.1", "--cache", str(folder / "cache")]
    arguments += ["--out", str(folder / "out")]
    wanted = tyro.cli(Settings, args=arguments)
    found = run(wanted)
    assert found["others"] == {"KonIQ-10k": {"part": "official test", "photographs": 4}}
    last = found["summary"]["last epoch"]
    assert set(last) == {"test", "validation", "KonIQ-10k", "KonIQ-10k, all"}
    assert found["runs"][0]["selected"]["last epoch"]["KonIQ-10k, all"]["pairs"] == 66
    assert last["KonIQ-10k"]["srocc"]["splits"] == 2
    assert found["runs"][0]["selected"]["last epoch"]["KonIQ-10k"]["pairs"] == 6
    assert found["data"]["KonIQ-10k"]["photographs"] == 12
    table = other / "koniq10k_distributions_sets.csv"  # without a test part, all are tested
    table.rename(other / "koniq10k_scores_and_distributions.csv")
    text = (other / "koniq10k_scores_and_distributions.csv").read_text()
    (other / "koniq10k_scores_and_distributions.csv").write_text(text.replace("MOS", "MOS_zscore"))
    found = run(replace(wanted, out=folder / "all"))
    assert found["others"] == {"KonIQ-10k": {"part": "all", "photographs": 12}}


@pytest.fixture
def agiqa(folder) -> Path:
    """Thirty generated images in the layout of AGIQA-3K, three of each prompt."""
    rows = ["name,prompt,style,mos_quality"]
    for index in range(30):
        name = f"sd1.5_normal_{index:03}.jpg"
        Image.open(folder / "Images" / f"{index}.png").save(folder / name)
        rows.append(f"{name},prompt {index // 3},anime style,{0.1 * index + 0.5:.2f}")
    (folder / "data.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_agiqa_fine_tuned_keeps_prompts_together(agiqa, tiny, tiny_net):
    model = save(agiqa, tiny_net.attribute_net, tiny)
    found = run(settings(agiqa, model, "fine-tune", dataset="agiqa3k", subset=True))
    last = found["summary"]["last epoch"]["test"]
    assert last["srocc"]["splits"] == 2
    # two whole prompts are tested: three pairs within each
    assert found["runs"][0]["selected"]["last epoch"]["test"]["group_pairs"] == 6
    assert found["runs"][0]["split"]["test"] == 6


@pytest.mark.parametrize(
    ("data", "setting"),
    [
        ("KonIQ-10k", "zero-shot"),
        ("agiqa-3k, 2000 images", "trained on this data set"),
        ("AGIQA-3K2", "zero-shot"),
        (None, "unknown"),
        ("KonIQ-10k and what large 1234 was trained on, unknown", "unknown"),
        ("AGIQA-3k and what large 1234 was trained on, unknown", "trained on this data set"),
    ],
)
def test_agiqa_zero_shot_is_called_so(agiqa, tiny, tiny_net, data, setting):
    model = save(agiqa, tiny_net, tiny, {"data": data} if data else {})
    found = run(settings(agiqa, model, "as-is", dataset="agiqa3k", subset=True))
    assert found["setting"] == setting
    scores = load_model(model).score([agiqa / f"sd1.5_normal_{i:03}.jpg" for i in range(30)])
    expected = stats.spearmanr(scores.score.numpy(), np.arange(30))[0]
    assert found["result"]["srocc"] == pytest.approx(expected)
    assert found["result"]["group_pairs"] == 30


def test_references_stay_on_one_side_unless_told_otherwise(folder):
    groups = tuple(str(index // 5) for index in range(100))
    paths = tuple(Path(f"{index}.png") for index in range(100))
    photos = RatedPhotos("made up", paths, np.arange(100.0), (0.0, 100.0), groups=groups)
    for by_group, shared in ((True, 0), (False, 10)):
        wanted = settings(folder, "embedded", "fine-tune")
        if not by_group:
            wanted = replace(wanted, by_group=False)
        (split, _) = divide(photos, 2, 0.1, by_group=wanted.by_group)
        trained, tested = ({groups[i] for i in part} for part in (split.train, split.test))
        assert len(trained & tested) >= shared
        assert by_group == trained.isdisjoint(tested)
    assert not tyro.cli(Settings, args=["fine-tune", "KADID", "--no-by-group"]).by_group


def test_an_interrupted_evaluation_is_not_continued_with_another_model(
    folder, tiny, tiny_net, monkeypatch
):
    wanted = settings(folder, save(folder, tiny_net, tiny), "fine-tune")
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # the states stay
    found = run(wanted)
    assert run(wanted) == found  # a finished one is read
    torch.manual_seed(9)
    other = save(folder, QualityNet(AttributeNet(tiny)), tiny)
    with pytest.raises(CheckpointError, match="network was"):
        main(replace(wanted, model=other))


def test_probe_of_the_heads_and_without_validation(folder, tiny, tiny_net):
    model = save(folder, tiny_net, tiny)
    wanted = settings(folder, model, "linear-probe", features="heads", validation=0.0)
    found = run(wanted)
    assert found["summary"]["selected on validation"] is None
    assert found["runs"][0]["split"]["train"] == 24
    assert "training error" in found["runs"][0]["history"][0]
    ridge = run(replace(wanted, probe="ridge", out=folder / "ridge"))
    assert "alpha" in ridge["runs"][0]["history"][0]


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
    shutil.copy(folder / names[0], folder / "NA")
    table.write_text(f"first,second,preference\n./{names[1]},NA,0.5\n")
    assert run(settings(table, model, "pairs", out=folder / "none"))["result"]["pairs"] == 0
    for wrong, said in (
        ("first,second\n", r"pairs\.csv"),
        ("first,second,preference\n", r"pairs\.csv: a header without rows"),
        (f"first,second,preference\n{names[0]},none.png,1\n", "none.png, which is missing"),
        (f"first,second,preference\n{names[0]},NA,2\n", r"pairs\.csv: .* in \[0, 1\]"),
    ):
        table.write_text(wrong)
        with pytest.raises(DatasetLayoutError, match=said):
            main(settings(table, model, "pairs", out=folder / "out"))


@pytest.fixture
def spaq(folder) -> Path:
    """Thirty photographs in the layout of SPAQ, their attributes at random."""
    random = np.random.default_rng(0)
    (folder / "Images").rename(folder / "TestImage")
    names = [f"{index}.png" for index in range(30)]
    table = spaq_table(names, np.linspace(20, 80, 30).tolist())
    for column in ("Brightness", "Colorfulness", "Contrast", "Sharpness"):
        table[column] = random.uniform(0, 100, 30)
    (folder / "Annotations").mkdir()
    table.to_csv(folder / "Annotations" / "MOS and Image attribute scores.csv", index=False)
    return folder


@pytest.mark.parametrize("kind", ["pretrained", "fine-tuned"])
def test_heads_against_the_attribute_scores_of_people(spaq, tiny, tiny_net, kind, capsys):
    net = tiny_net if kind == "fine-tuned" else tiny_net.attribute_net
    model = save(spaq, net, tiny)
    found = run(settings(spaq, model, "attributes", dataset="spaq", subset=True))
    photos = read_spaq(spaq, subset=True)
    assert photos.attributes is not None
    tiny_net.eval()
    crops = [views(to_tensor(path)[None], CropProtocol(72, 64))[0] for path in photos.paths]
    with torch.no_grad():
        raw = torch.stack([tiny_net.attribute_net(one).mean(0) for one in crops]).numpy()
    for column, name in enumerate(ATTRIBUTES):
        expected = stats.spearmanr(raw[:, column], photos.attributes[:, column])[0]
        assert found["attributes"][name]["srocc"] == pytest.approx(expected, abs=2e-3)
        low, high = (found["attributes"][name][f"srocc_{end}"] for end in ("low", "high"))
        assert low < expected < high
    assert "noisiness" in capsys.readouterr().out
    assert found["data"]["SPAQ"]["photographs"] == 30


def test_people_must_have_been_asked_for_attributes(folder, tiny, tiny_net):
    with pytest.raises(DatasetLayoutError, match="no human scores of attributes; use --dataset"):
        main(settings(folder, save(folder, tiny_net, tiny), "attributes"))


def test_a_pretrained_network_cannot_be_measured_as_it_is(folder, tiny, tiny_net):
    model = save(folder, tiny_net.attribute_net, tiny)
    with pytest.raises(CheckpointError, match="expected a fine-tuned QualityNet"):
        main(settings(folder, model, "as-is"))


def test_the_official_split_is_asked_for_in_vain(folder):
    photos = RatedPhotos("made up", (folder,) * 3, np.arange(3.0), (0.0, 3.0))
    with pytest.raises(DatasetLayoutError, match="official"):
        divide(photos, official=True)


def test_from_the_command_line(folder, tiny, tiny_net, capsys):
    arguments = ["linear-probe", str(folder), "--dataset", "biq2021-train", "--splits", "1"]
    arguments += ["--model", save(folder, tiny_net, tiny), "--out", str(folder / "out")]
    arguments += ["--others", "spaq=SPAQ", "koniq=KONIQ", "--cache", "None"]
    parsed = tyro.cli(Settings, args=arguments)
    assert parsed.finetuning == FinetuneSettings.paper()
    assert parsed.others == ("spaq=SPAQ", "koniq=KONIQ")
    main(replace(parsed, others=()))
    assert "SROCC" in capsys.readouterr().out


def test_crops_larger_than_the_photograph_are_refused_at_once(tmp_path):
    with pytest.raises(ValueError, match=r"further: expected 0 or at least the crop's 64"):
        Settings("fine-tune", tmp_path, further=(32,), short_side=72, crop=64)
