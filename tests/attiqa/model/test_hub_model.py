import json
from dataclasses import replace

import huggingface_hub
import pytest
import torch
from huggingface_hub import HfApi, ModelCard

from attiqa.errors import CheckpointError
from attiqa.model.hub_model import HubModel
from attiqa.model.quality_model import load_model


@pytest.fixture
def model(tiny, tiny_net) -> HubModel:
    return HubModel(tiny_net, replace(load_model().card, name="tiny", architecture=tiny))


def test_saved_and_loaded(model, small, tmp_path):
    model.save_pretrained(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["README.md", "tiny.json", "tiny.safetensors"]
    loaded = HubModel.from_pretrained(tmp_path)
    assert isinstance(loaded, HubModel)
    assert torch.equal(loaded.predict(small).score, model.predict(small).score)
    assert torch.equal(load_model(tmp_path).predict(small).score, model.predict(small).score)
    assert replace(loaded.card, sha256="") == replace(
        model.card, sha256="", training=loaded.card.training
    )


def test_the_readme_says_what_the_scores_mean(model, tmp_path):
    model.save_pretrained(tmp_path)
    text = (tmp_path / "README.md").read_text()
    card = ModelCard(text)
    assert card.data.to_dict()["library_name"] == "attiqa"
    for stated in ("0 to 1, higher is better", "BIQ2021", model.card.limits, model.card.teacher):
        assert stated in text


def test_a_repository_is_downloaded_with_the_options_given(model, small, tmp_path, monkeypatch):
    model.save_pretrained(tmp_path)
    asked = {}

    def download(repository, **options):
        asked.update(options, repository=repository)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    loaded = HubModel.from_pretrained("someone/model", revision="v1", local_files_only=True)
    assert torch.equal(loaded.predict(small).score, model.predict(small).score)
    assert asked["repository"] == "someone/model"
    assert asked["revision"] == "v1"
    assert asked["local_files_only"] is True


def test_a_repository_that_is_not_in_the_cache(tmp_path):
    with pytest.raises(CheckpointError, match="hf://someone/model: cannot be fetched"):
        HubModel.from_pretrained("someone/model", cache_dir=tmp_path, local_files_only=True)


def test_pushed(model, tmp_path, monkeypatch):
    sent = {}

    def upload(self, *, repo_id, folder_path, **options):
        sent[repo_id] = sorted(path.name for path in folder_path.iterdir())
        card = json.loads((folder_path / "tiny.json").read_text())
        assert card["scale"]["high"] == 1

    monkeypatch.setattr(HfApi, "create_repo", lambda self, **options: type("", (), options))
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    model.push_to_hub("someone/model")
    assert sent == {"someone/model": ["README.md", "tiny.json", "tiny.safetensors"]}
