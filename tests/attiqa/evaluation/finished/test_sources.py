import subprocess
import sys

import pytest

from attiqa.errors import CheckpointError, DatasetLayoutError
from attiqa.evaluation.finished.sources import check_source, clip_source, is_foreign, metric_config

CONFIGS = """
DEFAULT_CONFIGS = {
    "dbcnn": {"metric_opts": {"type": "DBCNN", "pretrained": "koniq"}, "metric_mode": "NR"},
    "niqe": {"metric_opts": {"type": "NIQE"}, "metric_mode": "NR", "lower_better": True},
    "lpips": {"metric_opts": {"type": "LPIPS"}, "metric_mode": "FR"},
    "fid": {"metric_opts": {"type": "FID"}, "metric_mode": "NR"},
}
"""


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """A package of pyiqa's layout that cannot be imported: names are looked up without it."""
    (tmp_path / "pyiqa").mkdir()
    (tmp_path / "pyiqa" / "__init__.py").write_text("raise AssertionError('imported')")
    (tmp_path / "pyiqa" / "default_model_configs.py").write_text(CONFIGS)
    monkeypatch.syspath_prepend(tmp_path)


def test_metrics_of_pyiqa_by_name(listed):
    assert metric_config("pyiqa:niqe")["lower_better"]
    for wrong, said in (
        ("pyiqa:dbcn", "did you mean pyiqa:dbcnn"),
        ("pyiqa:lpips", "needs a reference or a set of pictures"),
        ("pyiqa:fid", "needs a reference or a set of pictures"),
    ):
        with pytest.raises(CheckpointError, match=said):
            check_source(wrong)


def test_without_pyiqa_its_extra_is_named():
    program = (
        "import importlib.util; importlib.util.find_spec = lambda name: None\n"
        "from attiqa.evaluation.finished.sources import check_source\n"
        "from attiqa.errors import CheckpointError\n"
        "try:\n    check_source('pyiqa:niqe')\nexcept CheckpointError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "pip install 'attiqa[pyiqa]'" in done.stdout, done.stderr


def test_kinds_of_models(tmp_path):
    for foreign in ("pyiqa:niqe", "table:a.csv", "clip-iqa", "clip-iqa:RN50@openai"):
        assert is_foreign(foreign)
    for own in ("embedded", "clip-iqa.safetensors", "hf://owner/table", str(tmp_path)):
        assert not is_foreign(own)
    check_source("embedded")
    check_source("hf://owner/repository")
    with pytest.raises(CheckpointError, match="no such model"):
        check_source("embeded")
    with pytest.raises(DatasetLayoutError, match="no such table"):
        check_source(f"table:{tmp_path / 'none.csv'}")
    assert clip_source("clip-iqa:hf-hub:owner/name") == ("hf-hub:owner/name", "openai")
