import json
from dataclasses import replace

import huggingface_hub
import pytest
import torch
from huggingface_hub import HfApi, ModelCard, ModelCardData

from attiqa.errors import CheckpointError
from attiqa.model.adapters.hub_card import card_data
from attiqa.model.adapters.hub_model import HubModel
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


@pytest.mark.parametrize("name", ["attiqa-mini", "attiqa-referee"])
def test_every_field_of_the_hubs_card_is_filled_and_survives_a_round_trip(name, tmp_path):
    model = load_model(name)
    HubModel(model.net, model.card).save_pretrained(tmp_path)
    found = ModelCard.load(tmp_path / "README.md")
    data = found.data
    assert isinstance(data, ModelCardData)
    assert data.to_dict() == ModelCardData(**data.to_dict()).to_dict()
    assert data.license == "apache-2.0"
    assert (data.library_name, data.pipeline_tag) == ("attiqa", "image-classification")
    assert data.datasets == ["BIQ2021"]
    assert data.metrics == ["kendalltau", "pearsonr", "rmse", "spearmanr"]
    assert data.model_name == name
    assert {"image-quality-assessment", "arxiv:2406.01020"} <= set(data.tags or ())
    measured = model.card.metrics["test, 300 photographs"]["five crops"]
    results = {
        (r.dataset_split, r.dataset_config, r.metric_type): r.metric_value
        for r in data.eval_results or ()
    }
    for theirs, ours in (("spearmanr", "srocc"), ("pearsonr", "plcc"), ("rmse", "rmse")):
        value = results["test, 300 photographs", "five crops", theirs]
        assert value == pytest.approx(measured[ours], abs=1e-4)
    assert len(results) == len(data.eval_results or ())
    for stated in (model.card.limits, model.card.teacher, model.card.training["license"]):
        assert stated in found.text
    assert f"| test, 300 photographs, five crops | {measured['srocc']:.3f} |" in found.text


def test_cards_that_say_little_leave_fields_out(model):
    card = replace(model.card, training={"data": "my photographs"}, metrics={"note": "none"})
    data = card_data(card)
    assert (data.license, data.license_name) == ("other", "not stated")
    assert data.datasets is data.metrics is data.eval_results is None
    mixed = replace(card, training={"data": "KonIQ-10k and spaq", "license": "CC-BY-NC-4.0"})
    assert card_data(mixed).datasets == ["KonIQ-10k", "SPAQ"]
    assert card_data(mixed).license_name == "CC-BY-NC-4.0"
    finetuned = replace(card, metrics={"last epoch": {"test": {"srocc": 0.5, "plcc": 0.25}}})
    srocc, plcc = card_data(finetuned).eval_results or []
    assert (srocc.metric_value, plcc.metric_value) == (0.5, 0.25)
    assert (srocc.dataset_split, srocc.dataset_config) == ("last epoch", "test")


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
        assert 'load_model("hf://someone/model")' in (folder_path / "README.md").read_text()
        return "commit"

    monkeypatch.setattr(HfApi, "create_repo", lambda self, **options: type("", (), options))
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    assert model.push_to_hub("someone/model") == "commit"
    assert sent == {"someone/model": ["README.md", "tiny.json", "tiny.safetensors"]}
