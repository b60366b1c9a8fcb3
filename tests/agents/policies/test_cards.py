"""Supervised policies in files: 16 bits, and a card that says what anchors the agent."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from agents.policies import (
    EMBEDDED,
    AgentError,
    agent_files,
    load_agent,
    load_prior,
    mean_action,
    prior_identity,
    save_agent,
)
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.task.observations import IMAGE_SIDE, LINEAR
from tests.agents.tiny import PIPELINE, agent_of, opinionated


def observation() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return {
        "image": 255 * torch.rand(3, 6, IMAGE_SIDE, IMAGE_SIDE, generator=random),
        "linear": torch.rand(3, LINEAR, generator=random),
        "vector": torch.rand(3, 60, generator=random),
    }


def test_a_prior_is_kept_in_16_bits_and_acts_as_before(tmp_path):
    agent = agent_of(opinionated())
    save_agent(agent, tmp_path / "prior")
    stored = load_file(tmp_path / "prior.safetensors")
    assert {x.dtype for x in stored.values() if x.is_floating_point()} == {torch.float16}
    loaded = load_agent(tmp_path / "prior", PIPELINE)
    before, after = (mean_action(a.policy, observation()) for a in (agent, loaded))
    assert torch.allclose(after, before, atol=3e-3)
    assert np.ptp(before.detach().numpy()) > 0.3
    assert loaded.card == agent.card
    assert loaded.card.algorithm == "supervised"
    assert all(p.dtype == torch.float32 for p in loaded.policy.parameters())
    for name, value in agent.policy.state_dict().items():
        assert value.dtype != torch.float16, name  # what is saved is a copy


def test_the_card_says_which_prior_anchors_the_agent(tmp_path):
    agent = agent_of(opinionated())
    save_agent(replace(agent, card=replace(agent.card, prior="prior 0123")), tmp_path / "agent")
    assert load_agent(tmp_path / "agent", PIPELINE).card.prior == "prior 0123"
    content = (tmp_path / "agent.safetensors").read_bytes()
    assert prior_identity(str(tmp_path / "agent")) == hashlib.sha256(content).hexdigest()


def test_no_prior_is_none_and_others_are_for_the_knobs_of_their_cards(tmp_path):
    assert load_prior("none") is None
    save_agent(agent_of(opinionated()), tmp_path / "some")
    prior = load_prior(str(tmp_path / "some"))
    assert prior is not None
    assert prior.card.knobs == [p.name for p in PIPELINE.parameters]
    assert len(prior.card.knobs) < len(DEFAULT_PIPELINE.parameters)


def test_names_stand_for_files_of_the_package():
    for source, name in (("embedded", EMBEDDED), ("prior", "prior")):
        card, weights = agent_files(source)
        assert card.parts[-3:] == ("agents", "weights", f"{name}.json")
        assert weights == card.with_suffix(".safetensors")


def test_cards_of_older_formats_are_refused(tmp_path):
    save_agent(agent_of(opinionated()), tmp_path / "agent")
    path = tmp_path / "agent.json"
    card = json.loads(path.read_text())
    assert card["format"] == 3
    path.write_text(json.dumps(card | {"format": 2}))
    with pytest.raises(AgentError, match="card format 2, this version reads 3"):
        load_agent(path, PIPELINE)
