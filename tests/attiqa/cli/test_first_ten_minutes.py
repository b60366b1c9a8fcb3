"""What a newcomer does wrong is said at once, in one line: what was expected, found, and to do."""

import importlib
import json
import logging
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import open_clip
import pytest
import timm
import torch
import tyro
from PIL import Image
from safetensors.torch import save_file

from attiqa import hub
from attiqa.cli import main as program
from attiqa.cli import views
from attiqa.cli.settings.clip import ClipEncoder
from attiqa.cli.settings.machine import Machine
from attiqa.data.crop_protocol import CropProtocol, CropSettings, differing_views
from attiqa.errors import CheckpointError, SettingsError, TeacherError
from attiqa.model.architecture import Architecture
from attiqa.model.checkpoints import load_backbone
from attiqa.model.networks import AttributeNet
from attiqa.model.sources import fetch
from attiqa.teachers import clip_model
from attiqa.teachers.clip_model import load_clip
from attiqa.training.loop import epoch_line
from attiqa.training.settings import Schedule

TINY = "--architecture.backbone test_efficientnet --architecture.head-features 8"
TRAINED = (
    "--finetuning.schedule.epochs 1 --finetuning.schedule.batch-size 4 "
    "--finetuning.schedule.workers 0 --finetuning.schedule.crops.size 32 "
    "--finetuning.schedule.crops.short-side 40 48 --machine.accelerator cpu"
)
PLAIN = "--dataset plain --scale 1 5"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Photographs with scores, an empty folder, one without pictures, files that are no models."""
    folder = tmp_path_factory.mktemp("newcomer")
    for name in ("PHOTOS", "EMPTY", "TEXTS"):
        (folder / name).mkdir()
    for index in range(20):
        Image.new("RGB", (96, 72), (index, 9 * index, 90)).save(folder / f"PHOTOS/{index}.png")
    rows = [f"{index}.png,{1 + index / 5}" for index in range(20)]
    (folder / "PHOTOS/scores.csv").write_text("\n".join(["name,mos", *rows]))
    (folder / "TEXTS/a.txt").write_text("no picture")
    (folder / "WEIGHTS.safetensors").write_text("no card beside it")
    pairs = {"best": {"positive": "Good image", "negative": "Bad image"}}
    attributes = ("sharpness", "contrast", "brightness", "colorfulness", "noisiness")
    chosen = {name: {"selected": {"sum": pairs, "distortion": pairs}} for name in attributes}
    (folder / "prompts.json").write_text(json.dumps({"attributes": chosen}))
    return folder


# words of a command line -> exit status and what is said
AT_ONCE = {
    "pretran PHOTOS": (2, "no command 'pretran'; did you mean 'pretrain'"),
    "nonsense": (2, "no command 'nonsense'"),
    "pretrain PHOTOS": (1, "a step takes 256 photographs .* there are 20 .*batch_size to 20"),
    "pretrain EMPTY": (1, "EMPTY: no image files; it is empty"),
    "pretrain TEXTS": (1, "TEXTS: no image files; passed over: 1 .txt"),
    "pretrain PHOTOS/0.png": (1, "PHOTOS/0.png: expected a folder of photographs, found a file"),
    "pretrain PHOTOS --labels EMPTY": (1, "EMPTY: no manifest.json; .* `attiqa label` wrote"),
    "pretrain PHOTOS --teacher mesured": (2, "invalid choice 'mesured'"),
    "pretrain PHOTOS --pretraining.schedule.epochs 0": (2, "epochs: expected 1 or more; found 0"),
    "pretrain PHOTOS --pretraining.schedule.batch-size -4": (2, "batch_size: expected 1 or more"),
    "pretrain PHOTOS --pretraining.schedule.crops.size 512": (2, "size 512 and short_side 256 340"),
    "pretrain PHOTOS --machine.accelerator gpus": (2, "invalid choice 'gpus'"),
    "pretrain PHOTOS --machine.devices 0": (2, "devices: expected a number of 1 or more"),
    "label EMPTY --out out": (1, "EMPTY: no image files"),
    "label PHOTOS --out TEXTS/a.txt": (1, "out: expected a folder .*a.txt is a file"),
    "label PHOTOS --out TEXTS/a.txt/labels": (1, "out: expected a folder .*a.txt is a file"),
    "label PHOTOS --out out --device cude": (1, "found 'cude'; did you mean 'cuda'"),
    "label PHOTOS --out out --prompts qualty": (1, "expected paper, quality .* mean 'quality'"),
    "label PHOTOS --out out --prompts prompts.json --task human": (
        1,
        "task: prompts.json has distortion, sum; found 'human'; select-prompts --spaq adds it",
    ),
    "label PHOTOS --out out --teacher measured --prompts quality": (
        1,
        "prompts: the measured teacher asks no CLIP; leave it out; found 'quality'",
    ),
    "label PHOTOS --out out --teacher measured --clip RN50": (1, "clip: the measured teacher"),
    "label PHOTOS --out out --side 0": (1, "side: expected 32 or more; found 0"),
    "select-prompts EMPTY --out out": (1, "EMPTY: no image files"),
    "select-prompts PHOTOS --out out --spaq-share 2": (1, "spaq_share: expected 0 to 1; found 2"),
    "finetune PHOTOS --dataset konic": (1, "found 'konic'; did you mean 'koniq'"),
    "finetune PHOTOS --dataset plain": (1, "scale: .* such as --scale 1 5"),
    "finetune PHOTOS --dataset plain --scale 5 1": (1, "scale: expected the lowest"),
    f"finetune PHOTOS {PLAIN} --mixed spaq": (1, "mixed: expected NAME=FOLDER; found 'spaq'"),
    f"finetune PHOTOS {PLAIN} --mixed spaq=PHOTOS": (1, "mixed: .* expected a weight above 0"),
    f"finetune PHOTOS {PLAIN} --model attiqa-mni": (1, "did you mean 'attiqa-mini'"),
    f"finetune PHOTOS {PLAIN} --model WEIGHTS.safetensors": (1, "its card WEIGHTS.json is not"),
    f"finetune PHOTOS {PLAIN} --distilled embedded": (
        1,
        "distilled: expected a model and a weight",
    ),
    f"finetune PHOTOS {PLAIN} --unlabelled PHOTOS": (1, "unlabelled: .* expected --distilled"),
    f"finetune PHOTOS {PLAIN} --model embedded --architecture.backbone resnet18": (
        1,
        "backbone: the model has its own network; leave it out; found 'resnet18'",
    ),
    f"evaluate fine-tune PHOTOS {PLAIN} --model WEIGHTS.safetensors": (1, "WEIGHTS.json is not"),
    f"evaluate fine-tune PHOTOS {PLAIN} --labels 10": (1, "labels: expected 0 to 1; found 10"),
    f"evaluate fine-tune PHOTOS {PLAIN} --splits 0": (1, "splits: expected 1 or more; found 0"),
    f"evaluate fine-tune PHOTOS {PLAIN} --others plain=EMPTYY": (1, "EMPTYY: no such folder"),
    "finetune PHOTOS --further 224": (2, "further: expected 0 or at least the crop's 320; found"),
    "evaluate as-is PHOTOS --short-side 100": (2, "short_side: expected at least the crop's 320"),
    "score EMPTY": (1, "EMPTY: no image files"),
    "score PHOTOS --batch-size 0": (1, "batch_size: expected 1 or more; found 0"),
    "score PHOTOS --device gpu": (1, "device: expected one of cpu, cuda"),
    "export WEIGHTS.safetensors": (1, "its card WEIGHTS.json is not beside it"),
    "export embedded --out TEXTS/a.txt/model.onnx": (1, "out: expected a folder .* is a file"),
}


def test_mistakes_are_told_at_once_in_a_line_without_pytorch(place):
    lines = json.dumps([words.split() for words in AT_ONCE])
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, lines], capture_output=True, text=True, cwd=place
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not found["pytorch"]
    for (words, (status, said)), (code, text) in zip(AT_ONCE.items(), found["told"], strict=True):
        assert code == status, (words, text)
        assert "Traceback" not in text
        assert re.search(said, " ".join(re.sub(r"[│╭╰─╮╯]", " ", text).split())), (words, text)
        if text.startswith("ERROR") and "usage" not in text:
            assert len(text.splitlines()) == 1, (words, text)


RUN_ALL = """
import contextlib, io, json, logging, sys
from attiqa.cli.main import main
told = []
for words in json.loads(sys.argv[1]):
    sys.argv[1:], text, code = words, io.StringIO(), "no exit"
    logging.getLogger().handlers.clear()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        try:
            main()
        except SystemExit as end:
            code = end.code
    told.append((code, text.getvalue()))
print(json.dumps({"told": told, "pytorch": "torch" in sys.modules}))
"""


@pytest.fixture
def attiqa(place, monkeypatch, caplog):
    """Run a command line in this process; its status, errors and warnings."""
    monkeypatch.chdir(place)

    def run(words: str) -> tuple[int, list[str]]:
        caplog.clear()
        monkeypatch.setattr(sys, "argv", ["attiqa", *words.split()])
        with pytest.raises(SystemExit) as end:
            program.main()
        records = [record for record in caplog.records if record.levelno >= logging.WARNING]
        return int(end.value.code or 0), [record.getMessage() for record in records]

    return run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "pretrain PHOTOS --teacher measured --pretraining.schedule.batch-size 4 "
            "--architecture.backbone resnet5 --out a",
            r"backbone: .*timm.*; found 'resnet5'; did you mean 'resnet50'",
        ),
        (
            f"pretrain PHOTOS --teacher measured --pretraining.schedule.batch-size 1 {TINY} "
            "--machine.accelerator cpu --out b",
            "a batch of one photograph has no pairs to rank",
        ),
        ("label PHOTOS --out c --clip ViT-B-61", r"'ViT-B-61' is neither .*; did you mean 'ViT-B"),
        (
            "label PHOTOS --out c --clip-weights opanai",
            r"'opanai' is no tag .* did you mean 'openai'",
        ),
        (
            "select-prompts PHOTOS --out c --clip ViT-B-16 --clip-weights NONE.pt",
            "'NONE.pt' is no tag of ViT-B-16 .* and no file",
        ),
        (f"finetune PHOTOS {PLAIN} {TINY} --official", "no official split; leave out --official"),
        (
            f"finetune PHOTOS {PLAIN} {TINY} --validation 0.05",
            r"validation: .* two or more different scores; this part has 1 of PHOTOS's 20",
        ),
        (f"finetune PHOTOS {PLAIN} {TINY} --validation 0.01", "validation: 20 photographs cannot"),
        (f"finetune PHOTOS {PLAIN} {TINY} --finetuning.schedule.batch-size 17", "there are 16 to"),
        (
            f"finetune PHOTOS {PLAIN} {TINY} {TRAINED} --init WEIGHTS.safetensors --out d",
            "WEIGHTS.safetensors: cannot be read as safetensors",
        ),
        (f"evaluate fine-tune PHOTOS {PLAIN} --labels 0.1 --out e", "a step takes 32 photographs"),
        (f"evaluate fine-tune PHOTOS {PLAIN} --labels 0.01 --out e", "labels: 0.01 of 20 photogr"),
        (f"evaluate fine-tune PHOTOS {PLAIN} --validation 0.05 --out e", "validation: a correlat"),
    ],
)
def test_mistakes_that_only_the_data_or_a_library_can_tell(attiqa, words, said):
    status, (*_, message) = attiqa(words)
    assert status == 1
    assert re.search(said, message)
    assert len(message.splitlines()) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_devices_that_this_machine_lacks(attiqa):
    status, (message,) = attiqa("score PHOTOS --device cuda")
    assert (status, message[:12]) == (1, "device: cuda")
    with pytest.raises(SettingsError, match="this machine has no 1 x cuda"):
        Machine("cuda").launch(Path("lacking"))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder that nobody may write to")
def test_what_the_system_refuses_is_told_without_a_traceback(attiqa):
    refused = f"pretrain PHOTOS --teacher measured --pretraining.schedule.batch-size 4 {TINY} "
    status, (*_, message) = attiqa(refused + "--machine.accelerator cpu --out /proc/nowhere")
    assert status == 1
    assert "/proc/nowhere: " in message


def test_training_crops_that_differ_from_tested_ones_are_logged_and_on_the_card(
    attiqa, place, caplog
):
    status, warnings = attiqa(
        f"finetune PHOTOS {PLAIN} {TINY} {TRAINED} --crop 40 --short-side 60 --validation 0.1 "
        "--out differing"
    )
    assert status == 0
    said = "crops of 32 pixels in training, 40 in tests; a short side of 40 to 48 in training, 60"
    assert any(said in warning for warning in warnings)
    card = json.loads((place / "differing/finetuned.json").read_text())
    assert said in card["training"]["views"]
    epochs = [r.getMessage() for r in caplog.records if r.getMessage().startswith("epoch ")]
    assert len(epochs) == 1
    assert re.fullmatch(
        r"epoch 1/1: mos \S+; test SROCC \S+ PLCC \S+; validation SROCC \S+ PLCC \S+", epochs[0]
    )


def test_views_are_compared():
    assert not differing_views(CropSettings(320, (340, 340)), CropProtocol(340, 320, (0,)))
    assert "224 pixels" in differing_views(CropSettings(224, (256, 340)), CropProtocol(340, 320))
    wider = differing_views(CropSettings(320, (340, 600)), CropProtocol(340, 320, (512, 768)))
    assert wider == "a short side of 340 to 600 in training, 768 in tests"


def test_small_photographs_are_warned_of(place, caplog):
    paths = sorted((place / "PHOTOS").glob("*.png"))
    said = views.warn_of_views(paths, CropSettings(224, (256, 340)))
    assert "median short side of 72 pixels are enlarged to 256 to 340" in said
    assert said in caplog.text
    assert not views.warn_of_views(paths, CropSettings(64, (72, 72)))


def test_the_log_of_an_epoch_is_one_short_line():
    metrics = ("srocc", "plcc", "krocc", "rmse", "plcc_mapped", "pair_accuracy", "pairs")
    results = {f"{part}/{name}": 0.123456 for part in ("test", "validation") for name in metrics}
    line = epoch_line(7, 100, {"mos": 0.0123456, "ranking": 12.5}, results | {"alpha": 3.0})
    assert line == (
        "epoch 7/100: mos 0.01235 ranking 12.5; test SROCC 0.123 PLCC 0.123; "
        "validation SROCC 0.123 PLCC 0.123; alpha 3"
    )


class TestWithoutANetwork:
    def test_weights_of_clip_are_refused_in_seconds(self, attiqa, monkeypatch):
        monkeypatch.setattr(clip_model, "try_to_load_from_cache", lambda *_: None)
        monkeypatch.setattr(clip_model, "why_unreachable", lambda: "hub: no route")
        for command in ("select-prompts PHOTOS --out x", "label PHOTOS --out x"):
            status, (message,) = attiqa(command)
            assert status == 1
            assert "openai: its weights are not on this machine" in message
            place = "https://huggingface.co/timm/vit_base_patch16_clip_224.openai/resolve/main/"
            assert f"no route). Where there is a network, download {place}open_clip" in message
            assert "--clip-weights FILE" in message
        with pytest.raises(TeacherError, match="hf download owner/name"):
            load_clip("hf-hub:owner/name", None, 0)

    def test_weights_in_the_cache_need_no_hub(self, monkeypatch, tmp_path):
        def offline() -> str:
            raise AssertionError("asked for the hub")

        monkeypatch.setattr(clip_model, "try_to_load_from_cache", lambda *_: str(tmp_path))
        monkeypatch.setattr(clip_model, "why_unreachable", offline)
        tiny = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}, {"layers": 1}
        model = open_clip.CLIP(8, *cast(Any, tiny))
        monkeypatch.setattr(open_clip, "create_model", lambda *_, **__: model)
        _, description = load_clip("ViT-B-16-quickgelu", "openai", 0)
        assert description["weights"] == "tag openai"

    def test_a_model_of_the_hub_is_looked_for_in_the_cache_alone(self, monkeypatch, tmp_path):
        monkeypatch.setattr("attiqa.model.sources.why_unreachable", lambda: "hub: no route")
        with pytest.raises(CheckpointError, match=r"hub: no route.*huggingface\.co/a/b/tree/main"):
            fetch("a/b", cache_dir=tmp_path)

    def test_the_hub_is_asked_once_and_briefly(self, monkeypatch):
        from huggingface_hub import constants

        with socket.socket() as closed:  # bound, and not listening
            closed.bind(("127.0.0.1", 0))
            endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
            monkeypatch.setattr(constants, "ENDPOINT", endpoint)
            monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
            began = time.monotonic()
            assert hub.why_unreachable().startswith(f"{endpoint}: ")
            assert time.monotonic() - began < hub.PATIENCE + 2
        with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
            assert hub.why_unreachable() == ""  # it answers, though with an error
            server.shutdown()


def test_published_weights_of_timm_are_taken_with_their_classifier(tmp_path):
    torch.manual_seed(0)
    published: Any = timm.create_model("test_efficientnet")
    assert {"classifier.weight", "bn1.num_batches_tracked"} <= published.state_dict().keys()
    save_file(published.state_dict(), tmp_path / "model.safetensors")
    net = AttributeNet(Architecture("test_efficientnet", head_features=8))
    load_backbone(net, tmp_path / "model.safetensors")
    images = torch.rand(1, 3, 64, 64)
    expected = published.eval().forward_head(published.forward_features(images), pre_logits=True)
    assert torch.equal(net.eval().backbone(images), expected)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"other\.safetensors: .*; \d+ of \d+ weights do not"):
        load_backbone(net, tmp_path / "other.safetensors")


def test_numbers_of_a_schedule():
    schedule = Schedule(batch_size=8, accumulate=2)
    assert schedule.epoch_steps(100, processes=3) == 2
    with pytest.raises(SettingsError, match=r"takes 48 .* there are 47 .*batch_size to 7"):
        schedule.epoch_steps(47, processes=3)
    wrong: list[tuple[str, Any]] = [("head_lr", -1.0), ("ema_decay", 1.0), ("workers", -1)]
    for name, value in wrong:
        with pytest.raises(SettingsError, match=name):
            replace(schedule, **{name: value})


@pytest.mark.parametrize("command", ["label", "select-prompts", "pretrain"])
def test_clip_is_chosen_by_one_spelling(command):
    settings = importlib.import_module(f"attiqa.cli.settings.{command.replace('-', '_')}").Settings
    arguments = ["PHOTOS", "--out", "x", "--clip", "RN50", "--clip-weights", "None"]
    assert tyro.cli(settings, args=arguments).encoder == ClipEncoder("RN50", None)


@pytest.mark.parametrize("command", ["finetune", "evaluate fine-tune"])
def test_splits_and_tested_crops_are_chosen_by_one_spelling(command):
    command, *arguments = command.split()
    settings = importlib.import_module(f"attiqa.cli.settings.{command}").Settings
    options = "FLIVE --official --short-side 500 --crop 400 --further 0 --model embedded"
    found = tyro.cli(settings, args=[*arguments, *options.split()])
    tested = found.protocol if command == "finetune" else found.whole
    assert tested == CropProtocol(500, 400, (0,))
    assert found.official
    assert found.model == "embedded"
