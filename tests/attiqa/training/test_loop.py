"""The loop that pretraining and fine-tuning share: seeds, states, steps and averages."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from attiqa.data.crop_protocol import CropSettings
from attiqa.distortions.training_pairs import sharpened_pairs
from attiqa.errors import CheckpointError, SettingsError
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.teachers.teacher import MeasuredTeacher
from attiqa.training.finetuning import finetune
from attiqa.training.loop import gather
from attiqa.training.pretraining import pretrain
from attiqa.training.settings import FinetuneSettings, PretrainSettings
from tests.attiqa.tiny_runs import REWARD, SCHEDULE, fabric, fresh, weights


def test_every_epoch_has_new_crops(tiny, photos, tmp_path):
    class Recorder(MeasuredTeacher):
        def __init__(self):
            self.seen = []

        def __call__(self, images):
            self.seen += [image.sum().item() for image in images]
            return super().__call__(images)

    settings, teacher = PretrainSettings(SCHEDULE, distorted=0.0), Recorder()
    pretrain(fabric(), fresh(tiny).attribute_net, photos, teacher, settings, tmp_path / "state")
    assert len(teacher.seen) == len(set(teacher.seen)) == 24


def test_the_same_seed_gives_the_same_weights(tiny, photos, mos, tmp_path):
    results = []
    for run in ("a", "b"):
        net = fresh(tiny)
        finetune(fabric(), net, photos, mos, MeasuredTeacher(), REWARD, tmp_path / run)
        results.append(weights(net))
    assert torch.equal(*results)


def test_a_run_that_stops_continues_as_if_it_had_not(
    tiny, photos, mos, tmp_path, interrupted_teacher
):
    whole = fresh(tiny)
    teacher = MeasuredTeacher()
    history = finetune(fabric(), whole, photos, mos, teacher, REWARD, tmp_path / "whole")

    with pytest.raises(KeyboardInterrupt):
        finetune(
            fabric(), fresh(tiny), photos, mos, interrupted_teacher(3), REWARD, tmp_path / "part"
        )
    resumed = fresh(tiny)
    found = finetune(fabric(), resumed, photos, mos, teacher, REWARD, tmp_path / "part")
    assert found == history
    assert torch.equal(weights(resumed), weights(whole))


def test_a_state_of_other_settings_is_refused(tiny, photos, tmp_path):
    settings = PretrainSettings(replace(SCHEDULE, epochs=1))
    net = fresh(tiny).attribute_net
    pretrain(fabric(), net, photos, MeasuredTeacher(), settings, tmp_path / "state")
    other = PretrainSettings(replace(SCHEDULE, epochs=1, seed=1))
    with pytest.raises(CheckpointError, match="state"):
        pretrain(fabric(), net, photos, MeasuredTeacher(), other, tmp_path / "state")


@pytest.mark.parametrize("other", ["photographs", "labels", "initial weights", "pair_maker"])
def test_a_state_of_another_finetuning_is_refused(tiny, photos, mos, tmp_path, other):
    state, settings = tmp_path / "state", FinetuneSettings(SCHEDULE)

    def run(photos=photos, mos=mos, seed=0, **more):
        torch.manual_seed(seed)
        net = QualityNet(AttributeNet(tiny))
        return finetune(fabric(), net, photos, mos, None, settings, state, **more)

    run()
    before = state.read_bytes()
    changes = {
        "photographs": {"photos": [*photos[:-1], photos[0]]},  # one of another split
        "labels": {"mos": np.roll(mos, 1)},
        "initial weights": {"seed": 1},
        "pair_maker": {"pair_maker": sharpened_pairs},
    }
    with pytest.raises(CheckpointError, match=rf"state: of another.*{other} was .*another folder"):
        run(**changes[other])
    assert state.read_bytes() == before
    assert len(run()) == 2  # its own run may still have it


def test_results_of_another_evaluation_are_not_mixed_in(tiny, photos, mos, tmp_path):
    settings, state = FinetuneSettings(SCHEDULE), tmp_path / "state"
    for crop, refused in ((64, False), (72, True)):
        with pytest.raises(CheckpointError, match="64, now 72") if refused else nullcontext():
            finetune(
                fabric(), fresh(tiny), photos, mos, None, settings, state, evaluation={"crop": crop}
            )


def test_a_state_of_another_teacher_or_of_other_labels_is_refused(tiny, photos, tmp_path):
    class Described(MeasuredTeacher):
        prompts = "Sharp image"

        def describe(self):
            return {"teacher": "CLIP", "prompts": self.prompts}

    labels, settings = np.eye(12)[:, :5], PretrainSettings(SCHEDULE, distorted=0.0)
    other = Described()
    other.prompts = "Crisp image"
    for name, first, second, message in (
        ("prompts", Described(), other, "prompts was 'Sharp image', now 'Crisp image'"),
        ("labels", labels, labels[::-1].copy(), "labels was"),
        ("kind", MeasuredTeacher(), labels, "teacher was 'measured', now None"),
    ):
        state = tmp_path / name
        pretrain(fabric(), fresh(tiny).attribute_net, photos, first, settings, state)
        with pytest.raises(CheckpointError, match=message):
            pretrain(fabric(), fresh(tiny).attribute_net, photos, second, settings, state)


def test_a_checkpoint_within_an_epoch_continues_the_means_exactly(tiny, photos, mos, tmp_path):
    schedule = replace(SCHEDULE, batch_size=2, checkpoint_steps=2, ema_decay=0.9)
    settings = replace(REWARD, schedule=schedule, dropout=0.3)
    whole = fresh(tiny)
    history = finetune(
        fabric(), whole, photos, mos, MeasuredTeacher(), settings, tmp_path / "whole"
    )

    class Stop(Exception):
        pass

    class StoppingTeacher(MeasuredTeacher):
        def __init__(self, calls):
            self.calls = calls

        def __call__(self, images):
            self.calls -= 1
            if self.calls < 0:
                raise Stop
            return super().__call__(images)

    state = tmp_path / "part"
    for calls in (5, 3):  # to step 4 of the first epoch's six, then to step 1 of the second's
        with pytest.raises(Stop):
            finetune(fabric(), fresh(tiny), photos, mos, StoppingTeacher(calls), settings, state)
    assert torch.load(state)["step"] == 0
    resumed, teacher = fresh(tiny), StoppingTeacher(6)
    assert finetune(fabric(), resumed, photos, mos, teacher, settings, state) == history
    assert torch.equal(weights(resumed), weights(whole))


def test_a_broken_state_is_named(tiny, photos, tmp_path):
    (tmp_path / "state").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="state"):
        pretrain(
            fabric(),
            fresh(tiny).attribute_net,
            photos,
            MeasuredTeacher(),
            PretrainSettings(SCHEDULE),
            tmp_path / "state",
        )


def test_other_workers_and_checkpoints_may_continue_a_run(tiny, photos, tmp_path):
    net, state = fresh(tiny).attribute_net, tmp_path / "state"
    pretrain(fabric(), net, photos, MeasuredTeacher(), PretrainSettings(SCHEDULE), state)
    again = fresh(tiny).attribute_net
    settings = PretrainSettings(replace(SCHEDULE, workers=1, checkpoint_steps=7))
    pretrain(fabric(), again, photos, MeasuredTeacher(), settings, state)
    assert torch.equal(weights(again), weights(net))
    other = PretrainSettings(SCHEDULE, margin=0.2)
    with pytest.raises(CheckpointError, match="margin"):
        pretrain(fabric(), again, photos, MeasuredTeacher(), other, state)


def test_fewer_photographs_than_a_step_takes(tiny, photos, tmp_path):
    settings = PretrainSettings(replace(SCHEDULE, accumulate=3))
    with pytest.raises(ValueError, match="takes 18 photographs"):
        pretrain(
            fabric(),
            fresh(tiny).attribute_net,
            photos,
            MeasuredTeacher(),
            settings,
            tmp_path / "state",
        )


def test_a_disk_that_is_full_leaves_the_last_state(tiny, photos, tmp_path, monkeypatch):
    state, settings = tmp_path / "state", PretrainSettings(SCHEDULE)
    launched, saved = fabric(), []

    def save(path: Path, content: dict) -> None:
        saved.append(path)
        if len(saved) > 1:  # after the second epoch
            raise RuntimeError("PytorchStreamWriter failed writing file data/0\nat:")
        fabric().save(path, content)

    monkeypatch.setattr(launched, "save", save)
    with pytest.raises(CheckpointError, match=r"state\.part: cannot be written: Pyt.*make room"):
        pretrain(launched, fresh(tiny).attribute_net, photos, MeasuredTeacher(), settings, state)
    assert torch.load(state, weights_only=True)["history"]
    again = fresh(tiny).attribute_net
    assert len(pretrain(fabric(), again, photos, MeasuredTeacher(), settings, state)) == 2


def test_batches_of_one_that_batch_normalisation_cannot_take(tiny, photos, mos, tmp_path):
    crops = CropSettings(32, (40, 48))
    one = FinetuneSettings(replace(SCHEDULE, batch_size=1, crops=crops))
    with pytest.raises(SettingsError, match="batch_size: BatchNorm needs more than 1 photograph"):
        finetune(fabric(), fresh(tiny), photos, mos, None, one, tmp_path / "state")


def test_accumulated_squared_errors_are_those_of_the_large_batch(tiny, photos, mos, tmp_path):
    plain = replace(tiny, backbone="test_convnext")  # without batch statistics
    results = []
    for size, accumulate in ((12, 1), (3, 4)):
        net = fresh(plain)
        schedule = replace(SCHEDULE, batch_size=size, accumulate=accumulate)
        settings = FinetuneSettings(schedule, plcc_weight=0.0)
        history = finetune(fabric(), net, photos, mos, None, settings, tmp_path / f"{size}")
        results.append((weights(net), history))
    (large, expected), (small, found) = results
    assert torch.allclose(small, large, atol=1e-5)
    assert found[-1]["mos"] == pytest.approx(expected[-1]["mos"], rel=1e-4)


def test_evaluation_sees_the_averaged_network_after_each_epoch(tiny, photos, mos, tmp_path):
    seen = []

    def evaluate(net, epoch):
        assert not net.training
        seen.append(weights(net).clone())
        return {"validation srocc": epoch / 10}

    net = fresh(tiny)
    settings = FinetuneSettings(replace(SCHEDULE, ema_decay=0.9))
    state = tmp_path / "state"
    history = finetune(fabric(), net, photos, mos, None, settings, state, evaluate=evaluate)
    assert [epoch["validation srocc"] for epoch in history] == [0.1, 0.2]
    assert torch.equal(seen[-1], weights(net))  # what is returned
    own = torch.load(state)["net"]
    assert not torch.equal(own["regressor.0.weight"], net.regressor.get_parameter("0.weight"))


def test_frozen_batch_statistics_stay(tiny, photos, mos, tmp_path):
    for frozen in (True, False):
        net = fresh(tiny)
        statistics = net.attribute_net.backbone.get_buffer("bn1.running_mean")
        before = statistics.clone()
        settings = FinetuneSettings(replace(SCHEDULE, freeze_batch_statistics=frozen))
        finetune(fabric(), net, photos, mos, None, settings, tmp_path / str(frozen))
        assert torch.equal(statistics, before) == frozen


def test_layers_near_the_input_learn_more_slowly(tiny, photos, mos, tmp_path):
    # a single step, and AdamW's first is the learning rate itself: that of the cycle's end
    schedule = replace(SCHEDULE, epochs=1, batch_size=12, backbone_lr=1e3, weight_decay=0.0)
    settings = FinetuneSettings(replace(schedule, layer_decay=0.5))
    net = fresh(tiny)
    backbone = net.attribute_net.backbone
    stem, last = (backbone.get_parameter(name) for name in ("conv_stem.weight", "bn2.bias"))
    before = stem.detach().clone(), last.detach().clone()
    finetune(fabric(), net, photos, mos, None, settings, tmp_path / "state")
    steps = (stem - before[0]).abs().max(), (last - before[1]).abs().max()
    assert (steps[1] / steps[0]).item() == pytest.approx(2**5, rel=0.01)  # five layers apart


def test_bfloat16(tiny, photos, tmp_path):
    net = fresh(tiny).attribute_net
    mixed = Fabric(accelerator="cpu", precision="bf16-mixed")
    settings = PretrainSettings(replace(SCHEDULE, epochs=12))
    history = pretrain(mixed, net, photos, MeasuredTeacher(), settings, tmp_path / "state")
    losses = [epoch["ranking"] for epoch in history]
    assert weights(net).dtype == torch.float32
    assert np.mean(losses[-3:]) < 0.8 * losses[0]


def test_rows_of_processes_that_have_different_numbers_of_them():
    """Three processes, of which this is the second: three rows, two and one."""
    others = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([6.0, 0.0, 0.0])
    counts = torch.tensor(3), torch.tensor(1)

    def all_gather(data: torch.Tensor) -> torch.Tensor:
        first, last = others if data.ndim else counts
        return torch.stack([first, data, last])

    second = Mock(spec=Fabric, world_size=3, global_rank=1, all_gather=all_gather)
    mine = torch.tensor([4.0, 5.0], requires_grad=True)
    rows = gather(second, mine)
    assert rows.tolist() == [1, 2, 3, 4, 5, 6]
    (gradient,) = torch.autograd.grad((rows * torch.arange(6)).sum(), mine)
    assert gradient.tolist() == [3 * 3, 3 * 4]
