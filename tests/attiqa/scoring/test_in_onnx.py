"""Scores without PyTorch: the same ones."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from skimage import data as photographs

from attiqa.cli.score import Settings, main
from attiqa.data.crop_protocol import CropProtocol
from attiqa.data.views import views
from attiqa.data.views_in_numpy import views as views_in_numpy
from attiqa.errors import AttiqaError, CheckpointError
from attiqa.model.adapters.onnx_export import ExportError, export_graph
from attiqa.model.cards import read_card
from attiqa.model.quality_model import load_model
from attiqa.model.sources import WEIGHTS
from attiqa.scoring.in_onnx import GraphScorer
from attiqa.scoring.in_torch import TorchScorer
from attiqa.scoring.scorers import load_scorer
from attiqa.scoring.tables import read_rows

EMBEDDED = sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))
PHOTOS = {
    "astronaut": photographs.astronaut(),
    "coffee": photographs.coffee(),
    "tall": np.rot90(photographs.cat()),
    "small": photographs.chelsea()[:90, :70],
}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photographs")
    for name, pixels in PHOTOS.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("crops", [1, 5])
@pytest.mark.parametrize("name", EMBEDDED)
def test_the_embedded_models_score_as_by_pytorch(name, crops, files):
    graph, model = load_scorer(name, crops=crops), TorchScorer(load_model(name), crops)
    assert isinstance(graph, GraphScorer)
    for path in files:
        looks = graph.look(path), model.look(path)
        assert (looks[0].width, looks[0].height) == (looks[1].width, looks[1].height)
        ((score, attributes, _),) = graph.score([looks[0].crops])
        ((expected, of_attributes, _),) = model.score([looks[1].crops])
        assert abs(score - expected) < 1e-5
        np.testing.assert_allclose(attributes, of_attributes, atol=1e-4)


@pytest.mark.parametrize(
    "protocol",
    [
        CropProtocol(384, 320),
        CropProtocol(64, 64),
        CropProtocol(340, 320, further=(0, 512)),
        CropProtocol(1001, 32),
    ],
)
@pytest.mark.parametrize("crops", [1, 5])
@pytest.mark.parametrize("photo", PHOTOS)
def test_crops_are_those_of_pytorch(photo, protocol, crops):
    pixels = np.ascontiguousarray(PHOTOS[photo])
    expected = views(torch.from_numpy(pixels).movedim(-1, 0)[None], protocol, crops)[0]
    found = views_in_numpy(pixels, protocol, crops)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("crops", [1, 3])
def test_batches_score_as_single_photographs(files, crops):
    scorer = load_scorer()
    looked = [scorer.look(path).crops for path in files[:crops]]
    together = scorer.score(looked)
    for one, (score, attributes, _) in zip(looked, together, strict=True):
        ((alone, of_attributes, _),) = scorer.score([one])
        assert score == pytest.approx(alone, abs=1e-6)
        assert attributes == pytest.approx(of_attributes, abs=1e-5)


@pytest.mark.skipif(sys.platform != "linux", reason="threads as Linux lists them")
@pytest.mark.parametrize("asked", [1, 3])
def test_as_many_threads_as_the_environment_says(files, asked):
    """Workers say 1: a machine of many cores would else have that many threads in each."""
    code = """if True:
        import os, sys
        from pathlib import Path
        import attiqa.scoring.in_onnx  # the runtime has a thread of its own
        from attiqa.scoring.scorers import load_scorer
        before = len(os.listdir("/proc/self/task"))
        scorer = load_scorer()
        scorer.score([scorer.look(Path(sys.argv[1])).crops])
        print(1 + len(os.listdir("/proc/self/task")) - before)
    """
    run = [sys.executable, "-c", code, str(files[0])]
    more = {**os.environ, "OMP_NUM_THREADS": str(asked)}
    done = subprocess.run(run, check=True, capture_output=True, text=True, env=more)
    assert int(done.stdout) == asked


def test_a_model_of_ones_own_gets_a_graph(model, weights, files):
    assert isinstance(load_scorer(weights), TorchScorer)
    graph = export_graph(load_model(weights), weights)
    assert graph == weights.with_suffix(".onnx")
    assert graph.stat().st_size < weights.stat().st_size
    scorer = load_scorer(weights)
    assert isinstance(scorer, GraphScorer)
    torch_scorer = TorchScorer(load_model(weights))
    for path in files:
        ((score, _, _),) = scorer.score([scorer.look(path).crops])
        ((expected, _, _),) = torch_scorer.score([torch_scorer.look(path).crops])
        assert abs(score - expected) < 1e-4


def test_a_graph_needs_all_weights(model, weights, tmp_path):
    other = tmp_path / "other.safetensors"
    header = json.dumps({}).encode()
    other.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ExportError, match=r"other\.safetensors: it has no weight"):
        export_graph(load_model(weights), other)


def test_graph_weights_and_card_belong_together(model, weights):
    export_graph(load_model(weights), weights)
    card = read_card(weights.with_suffix(".json"))
    with pytest.raises(CheckpointError, match="SHA-256 is not the one in its card"):
        GraphScorer(weights, replace(card, sha256="0" * 64))
    with pytest.raises(CheckpointError, match="expected a QualityNet"):
        GraphScorer(weights, replace(card, scale=None))
    graph = weights.with_suffix(".onnx")
    proto = onnx.load(graph, load_external_data=False)
    proto.metadata_props[0].value = "0" * 64
    graph.write_bytes(proto.SerializeToString())
    with pytest.raises(CheckpointError, match=r"\.onnx: the graph of other weights"):
        GraphScorer(weights, card)


def test_a_broken_graph_costs_speed_alone(weights, files, caplog):
    weights.with_suffix(".onnx").write_bytes(b"no graph")
    scorer = load_scorer(weights)
    assert isinstance(scorer, TorchScorer)
    assert "scored by PyTorch" in caplog.text


def test_nothing_of_pytorch_is_imported(files):
    code = """if True:
        import sys
        from attiqa.cli.score import Settings, main
        from pathlib import Path
        status = main(Settings((Path(sys.argv[1]),)))
        heavy = {"torch", "timm", "torchvision", "pyarrow", "pandas", "huggingface_hub"}
        print(status, sorted(heavy & set(sys.modules)))
    """
    run = [sys.executable, "-c", code, str(files[0])]
    done = subprocess.run(run, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_a_table_says_which_crops_were_seen(files, tmp_path, capsys):
    table = tmp_path / "scores.csv"
    assert main(Settings(tuple(files), table, crops=1)) == 0
    rows = list(read_rows(table))
    assert all(json.loads(str(row["protocol"]))["crops"] == 1 for row in rows)
    with pytest.raises(AttiqaError, match="holds scores of attiqa-mini"):
        main(Settings(tuple(files), table))
    main(Settings(tuple(files[:1]), crops=1))
    assert "centre crop alone" in " ".join(capsys.readouterr().out.split())
