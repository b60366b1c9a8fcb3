"""`attiqa compare` with tiny networks, tables, and CLIP with random weights."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import tyro
from PIL import Image
from safetensors.torch import save_model
from scipy import stats

from attiqa.cli import evaluate, main
from attiqa.cli.compare import main as compare
from attiqa.cli.settings.compare import Settings
from attiqa.cli.settings.evaluate import Settings as Evaluation
from attiqa.data.crop_protocol import CropProtocol
from attiqa.errors import AttiqaError, SettingsError
from attiqa.model.cards import Card, Scale
from attiqa.model.checkpoints import save_checkpoint
from attiqa.model.quality_model import load_model
from tests.attiqa.teachers.towers import TINY

COUNT = 12


@pytest.fixture
def data(tmp_path) -> Path:
    """Photographs with a scores.csv, and scores of another program."""
    random = np.random.default_rng(0)
    folder = tmp_path / "DATA"
    folder.mkdir()
    rows, theirs = ["name,mos"], ["name,score"]
    for number in range(COUNT):
        pixels = random.uniform(0, 60 + 15 * number, (80, 96, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append(f"{number}.png,{random.uniform():.4f}")
        theirs.append(f"{number}.png,{number**2}")
    (folder / "scores.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "theirs.csv").write_text("\n".join(theirs) + "\n")
    return folder


@pytest.fixture
def network(tmp_path, tiny, tiny_net) -> str:
    scale = Scale(0.0, 1.0, "test")
    training = {"data": "made up"}
    card = Card(
        "net", "QualityNet", tiny, CropProtocol(72, 64), scale, "none", training, {}, {}, {}, ""
    )
    return str(save_checkpoint(tmp_path, tiny_net, card))


@pytest.fixture
def clip(tmp_path) -> str:
    (tmp_path / "tiny-clip.json").write_text(json.dumps(TINY["tiny-clip"]))
    open_clip.add_model_config(tmp_path / "tiny-clip.json")
    torch.manual_seed(0)
    save_model(open_clip.create_model("tiny-clip"), tmp_path / "clip.safetensors")
    return f"clip-iqa:tiny-clip@{tmp_path / 'clip.safetensors'}"


def opinions(data: Path) -> list[float]:
    rows = (data / "scores.csv").read_text().splitlines()[1:]
    return [float(row.split(",")[1]) for row in rows]


def test_from_the_command_line(data, network, tmp_path, monkeypatch, capsys):
    table = f"table:{tmp_path / 'theirs.csv'}"
    words = ["--dataset", "plain", "--scale", "0", "1", "--resamples", "50", "--out"]
    words += [str(tmp_path / "out"), "--models", network, table]
    monkeypatch.setattr(sys, "argv", ["attiqa", "compare", str(data), *words])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert not end.value.code
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    models = found["datasets"]["DATA"]["models"]
    scores = load_model(network).score([data / f"{n}.png" for n in range(COUNT)]).score.numpy()
    expected = stats.spearmanr(scores, opinions(data))[0]
    assert models[network]["result"]["srocc"] == pytest.approx(expected)
    assert models[network]["setting"] == "zero-shot"
    expected = stats.spearmanr(np.arange(COUNT), opinions(data))[0]
    assert models[table]["result"]["srocc"] == pytest.approx(expected)
    assert models[table]["setting"] == "unknown"
    written = (tmp_path / "out" / "results.md").read_text()
    assert "## DATA: 12 photographs" in written
    assert f"| {table} | {expected:.3f} [" in written
    assert "DATA: 12 photographs" in capsys.readouterr().out


def test_further_data_sets_are_of_one_run(data, tmp_path, network):
    other = tmp_path / "OTHER"
    data.joinpath("scores.csv").rename(tmp_path / "kept.csv")
    other.mkdir()
    for path in (*data.glob("*.png"), tmp_path / "kept.csv"):
        name = "scores.csv" if path.suffix == ".csv" else path.name
        (other / name).write_bytes(path.read_bytes())
    (tmp_path / "kept.csv").rename(data / "scores.csv")
    arguments = [str(data), "--dataset", "plain", "--scale", "0", "1", "--models", network]
    arguments += ["--others", f"plain={other}", "--resamples", "20", "--out", str(tmp_path / "out")]
    compare(tyro.cli(Settings, args=arguments))
    found = json.loads((tmp_path / "out" / "results.json").read_text())["datasets"]
    assert list(found) == ["DATA", "OTHER"]
    assert found["DATA"] == found["OTHER"]


@pytest.mark.filterwarnings("ignore:.*QuickGELU mismatch")
def test_clip_with_two_prompts(data, clip):
    settings = Evaluation("as-is", data, "plain", (0.0, 1.0), model=clip, out=data.parent / "out")
    settings.check()
    evaluate.main(settings)
    found = json.loads((data.parent / "out" / "results.json").read_text())
    assert found["setting"] == "zero-shot"
    assert found["model"]["prompts"] == {"quality": ["Good photo.", "Bad photo."]}
    weights = clip.partition("@")[2]
    made: Any = open_clip.create_model_and_transforms("tiny-clip", pretrained=weights)
    model, _, preprocess = made
    model.eval()
    texts = open_clip.get_tokenizer("tiny-clip")(["Good photo.", "Bad photo."])
    images = torch.stack([preprocess(Image.open(data / f"{n}.png")) for n in range(COUNT)])
    with torch.no_grad():
        cosines = model.encode_image(images, normalize=True) @ model.encode_text(texts, True).T
    expected = (100 * cosines.double()).softmax(1)[:, 0]
    # open_clip resizes 8-bit pictures, we floating-point ones: nearly the same
    assert found["result"]["plcc"] == pytest.approx(
        np.corrcoef(expected, opinions(data))[0, 1], abs=0.02
    )


def test_preferences_by_a_table(data, tmp_path):
    pairs = ["first,second,preference", "3.png,1.png,0.9", "2.png,5.png,0.6", "0.png,1.png,0.5"]
    (data / "pairs.csv").write_text("\n".join(pairs) + "\n")
    table = f"table:{tmp_path / 'theirs.csv'}"
    evaluate.main(Evaluation("pairs", data / "pairs.csv", model=table, out=tmp_path / "out"))
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["result"] == {"pair_accuracy": 0.5, "pairs": 2}
    assert found["scores"][0] == [9, 1]


def test_others_are_not_trained(data, tmp_path):
    table = f"table:{tmp_path / 'theirs.csv'}"
    settings = Evaluation("fine-tune", data, "plain", (0.0, 1.0), model=table)
    with pytest.raises(SettingsError, match="expected a network of this package to fine-tune"):
        settings.check()


def test_settings_that_make_no_comparison(data, tmp_path):
    good = Settings(data, ("embedded", "attiqa-referee"), "plain", (0.0, 1.0))
    good.check()
    for wrong, said in (
        (replace(good, models=("embedded", "embedded")), "different models"),
        (replace(good, models=()), "different models"),
        (replace(good, resamples=0), "--resamples 0"),
        (replace(good, models=("embeded",)), "no such model"),
        (replace(good, others=("konik=.",)), "did you mean 'koniq'"),
    ):
        with pytest.raises(AttiqaError, match=said):
            wrong.check()
