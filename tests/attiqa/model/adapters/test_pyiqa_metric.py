"""Our model as a metric of pyiqa, and by itself where pyiqa is not installed."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from attiqa.data.crop_protocol import CropProtocol
from attiqa.errors import ImageFormatError
from attiqa.model.adapters.pyiqa_metric import ATTIQA, register
from attiqa.model.checkpoints import save_checkpoint
from attiqa.model.quality_model import load_model


@pytest.fixture
def source(tmp_path, tiny, tiny_net) -> str:
    card = replace(load_model().card, name="tiny", architecture=tiny, protocol=CropProtocol(72, 64))
    return str(save_checkpoint(tmp_path, tiny_net, card))


def test_scores_are_those_of_the_model(small, source):
    expected = load_model(source).score_whole(small).score
    found = ATTIQA(source)(small + 1e-6)  # pyiqa lets so much pass
    assert found.shape == (len(small), 1)
    torch.testing.assert_close(found[:, 0], expected, atol=1e-4, rtol=0)
    assert ATTIQA().model.card.name == "attiqa-mini"
    with pytest.raises(ImageFormatError):
        ATTIQA(source)(small * torch.nan)


@pytest.mark.filterwarnings("ignore")  # of pyiqa and what it imports
def test_as_a_metric_of_pyiqa(small, source):
    pyiqa = pytest.importorskip("pyiqa", reason="needs the extra pyiqa")
    register()
    register()  # as by the entry point
    cpu = torch.device("cpu")
    metric = pyiqa.create_metric("attiqa", device=cpu)
    one = small[:1]
    torch.testing.assert_close(metric(one)[:, 0], load_model().score_whole(one).score)
    assert not metric.lower_better
    assert metric.score_range == "~0, ~1"
    assert "attiqa" in pyiqa.list_models("NR")
    images = small.clone().requires_grad_()
    pyiqa.create_metric("attiqa", device=cpu, as_loss=True, source=source)(images).backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_pyiqa_finds_it_when_it_first_looks_a_network_up():
    pytest.importorskip("pyiqa", reason="needs the extra pyiqa")
    program = (
        "from importlib.metadata import entry_points\n"
        "if not any(e.name == 'attiqa' for e in entry_points(group='pyiqa.archs')):\n"
        "    print('not installed')\n"
        "else:\n"
        "    import pyiqa\n"
        "    pyiqa.create_metric('piqe', device='cpu')\n"
        "    print(type(pyiqa.create_metric('attiqa', device='cpu').net).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    if done.stdout == "not installed\n":
        pytest.skip("installed before it had this entry point: pip install again")
    assert done.stdout.splitlines()[-1] == "ATTIQA", done.stderr
