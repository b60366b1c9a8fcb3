"""Preview stores: what they hold, resume after death at any moment, failures, use as scenes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from isp_env.develop.downsized import preview
from isp_env.errors import RawFileError
from isp_env.raw import RawImage
from isp_env.raw.write_dng import write_dng
from isp_env.scenes import store_building
from isp_env.scenes.preview_store import INDEX, PreviewStore, PreviewStoreError, StoreSettings
from isp_env.scenes.samples import NIKON_D750
from isp_env.scenes.simulated_raw import reduce_truth
from isp_env.scenes.simulation import Capture, simulate
from isp_env.scenes.sources import Shot, raw_sources
from isp_env.scenes.store_building import Built, build_previews
from isp_env.task.environment import AutoresetMode, IspTuningEnv, IspTuningVectorEnv
from isp_env.task.reward import QualityReward
from isp_env.workers.isolated import run_isolated

WHOLE = StoreSettings(side=24, square=False)
SQUARE = StoreSettings(side=24)


def shot(number: int, height: int = 32, width: int = 48) -> tuple[RawImage, np.ndarray]:
    rng = np.random.default_rng(number)
    photo = rng.uniform(0, 1, (3, height // 8, width // 8)).repeat(8, 1).repeat(8, 2)
    return simulate(photo, NIKON_D750, Capture(iso=400), rng)


@dataclass(frozen=True)
class FakeSource:
    """A simulated shot that counts how often it is opened."""

    number: int
    opened: list[int]
    size: tuple[int, int] = (32, 48)
    fails: bool = False
    has_truth: bool = True

    @property
    def name(self) -> str:
        return f"scene {self.number}"

    def shoot(self) -> Shot:
        self.opened.append(self.number)
        if self.fails:
            raise RawFileError(Path(f"{self.number}.dng"), "made to fail")
        raw, truth = shot(self.number, *self.size)
        return Shot(raw, (lambda size: reduce_truth(truth, size)) if self.has_truth else None)


def build(
    sources, folder: Path, settings: StoreSettings = WHOLE, workers: int = 0, retry: bool = False
) -> list[Built]:
    return list(build_previews(sources, folder, settings, workers=workers, retry=retry))


def some(count: int, opened: list[int] | None = None) -> list[FakeSource]:
    opened = [] if opened is None else opened
    return [FakeSource(number, opened) for number in range(count)]


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(".")}


def test_a_store_holds_the_previews_of_its_sources(tmp_path):
    built = build(some(3), tmp_path / "store")
    assert built == [Built(f"scene {i}", "done") for i in range(3)]
    store = PreviewStore.open(tmp_path / "store")
    assert store.names() == ("scene 0", "scene 1", "scene 2")
    assert store.shapes == {(16, 24): 3}
    previews = store.previews()
    assert isinstance(previews.linear, np.memmap)
    assert previews.truth is None
    for number in range(3):
        raw, _ = shot(number)
        expected = preview(raw, 24)
        assert previews.linear[number] == pytest.approx(expected.rgb.numpy(), rel=1e-3, abs=1e-4)
        assert previews.noise[number] == pytest.approx(expected.noise.numpy())
        assert previews.as_shot_neutral[number] == pytest.approx(raw.as_shot_neutral)
        assert previews.iso[number] == 400


def test_truths_lie_as_the_previews_do(tmp_path):
    build(some(2), tmp_path, StoreSettings(side=24, square=True, truth=True))
    previews = PreviewStore.open(tmp_path).previews()
    assert previews.truth is not None
    assert previews.truth.shape == previews.linear.shape == (2, 3, 24, 24)
    _, truth = shot(1)  # 32x48, reduced to 25x37, of which the middle is kept
    middle = truth[:, 8:24, 16:32].mean((1, 2))
    assert previews.truth[1][:, 6:18, 6:18].mean((1, 2)) == pytest.approx(middle, abs=0.05)


def test_squares_are_cut_from_the_middle(tmp_path):
    sources = [
        FakeSource(0, [], (32, 48)),
        FakeSource(1, [], (64, 32)),
        FakeSource(2, [], (32, 32)),
    ]
    build(sources, tmp_path, SQUARE)
    previews = PreviewStore.open(tmp_path).previews()
    assert previews.linear.shape == (3, 3, 24, 24)
    whole = preview(shot(0)[0], 37).rgb.numpy()  # 25 x 37, of which 24 x 24
    assert previews.linear[0] == pytest.approx(whole[:, :24, 6:30], rel=1e-3, abs=1e-4)
    assert previews.linear[2] == pytest.approx(preview(shot(2, 32, 32)[0], 24).rgb, abs=1e-3)


def test_scenes_of_several_shapes(tmp_path):
    sources = [FakeSource(n, [], (48, 32) if n in (1, 3) else (32, 48)) for n in range(5)]
    build(sources, tmp_path)
    store = PreviewStore.open(tmp_path)
    assert store.shapes == {(16, 24): 3, (24, 16): 2}
    assert store.names((24, 16)) == ("scene 1", "scene 3")
    tall = store.previews((24, 16))
    expected = preview(shot(3, 48, 32)[0], 24).rgb.numpy()
    assert tall.linear[1] == pytest.approx(expected, rel=1e-3, abs=1e-4)
    with pytest.raises(PreviewStoreError, match="3 of 16x24, 2 of 24x16; no shape was named"):
        store.previews()
    with pytest.raises(PreviewStoreError, match="asked for 1x1"):
        store.previews((1, 1))


def test_what_gives_no_preview_is_listed_with_its_reason(tmp_path):
    opened: list[int] = []
    sources = [
        FakeSource(0, opened),
        FakeSource(1, opened, fails=True),
        FakeSource(2, opened, (8, 48)),
        FakeSource(3, opened, has_truth=False),
        FakeSource(4, opened),
    ]
    settings = StoreSettings(side=24, truth=True)
    statuses = [built.status for built in build(sources, tmp_path, settings)]
    assert statuses == ["done", "failed", "failed", "failed", "done"]
    store = PreviewStore.open(tmp_path)
    assert store.names() == ("scene 0", "scene 4")
    assert store.failures == {
        "scene 1": "made to fail",
        "scene 2": "smaller than 24 pixels: 48x8",
        "scene 3": "its truth is not known",
    }
    again = build(sources, tmp_path, settings)
    assert opened == [0, 1, 2, 3, 4]  # nothing was opened again
    assert [b.status for b in again] == ["skipped", "failed", "failed", "failed", "skipped"]
    assert again[1].reason == "made to fail"


def test_failures_are_tried_again_on_request(tmp_path):
    opened: list[int] = []
    build([FakeSource(0, opened, fails=True), FakeSource(1, opened)], tmp_path)
    built = build([FakeSource(0, opened), FakeSource(1, opened)], tmp_path, retry=True)
    assert opened == [0, 1, 0]
    assert {b.name: b.status for b in built} == {"scene 0": "done", "scene 1": "skipped"}
    store = PreviewStore.open(tmp_path)
    assert store.names() == ("scene 1", "scene 0")
    assert not store.failures


def test_a_failure_that_was_not_yet_listed_is_tried_again_too(tmp_path, monkeypatch):
    opened: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(store_building._Appender, "commit", lambda self: None)
        build([FakeSource(0, opened, fails=True)], tmp_path)
    (built,) = build([FakeSource(0, opened)], tmp_path, retry=True)
    assert built.status == "done"
    assert PreviewStore.open(tmp_path).names() == ("scene 0",)


def test_a_stopped_build_goes_on_and_repeats_nothing(tmp_path):
    opened: list[int] = []
    begun = build_previews(some(6, opened), tmp_path / "a", WHOLE, workers=0)
    for _ in range(3):
        next(begun)
    begun.close()
    assert PreviewStore.open(tmp_path / "a").names() == ("scene 0", "scene 1", "scene 2")
    statuses = Counter(built.status for built in build(some(6, opened), tmp_path / "a"))
    assert statuses == {"skipped": 3, "done": 3}
    assert opened == [0, 1, 2, 3, 4, 5]
    build(some(6), tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_what_was_made_but_not_appended_is_kept(tmp_path, monkeypatch):
    """A kill between the making of parts and the next commit."""
    opened: list[int] = []
    build(some(1, opened), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(store_building._Appender, "commit", lambda self: None)
        build([*some(4, opened), FakeSource(4, opened, fails=True)], tmp_path)
    assert PreviewStore.open(tmp_path).names() == ("scene 0",)  # nothing half-done is seen
    built = build([*some(5, opened)[:4], FakeSource(4, opened, fails=True)], tmp_path)
    assert [b.status for b in built] == ["skipped"] * 4 + ["failed"]
    assert opened == [0, 1, 2, 3, 4]
    store = PreviewStore.open(tmp_path)
    assert store.names() == tuple(f"scene {n}" for n in range(4))
    assert store.failures == {"scene 4": "made to fail"}
    expected = preview(shot(3)[0], 24).rgb.numpy()
    assert store.previews().linear[3] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_rows_beyond_the_index_are_written_over(tmp_path):
    """A kill between the writing of rows and of the index."""
    build(some(2), tmp_path / "a")
    for path in (tmp_path / "a").glob("*.f*"):
        with path.open("ab") as file:
            file.write(b"\x55" * 1000)
    build(some(4), tmp_path / "a")
    build(some(4), tmp_path / "b")
    assert PreviewStore.open(tmp_path / "a").sha256() == PreviewStore.open(tmp_path / "b").sha256()


def test_a_store_can_be_read_while_it_grows(tmp_path, monkeypatch):
    monkeypatch.setattr(store_building, "COMMIT_SECONDS", 0.0)
    growing = build_previews(some(4), tmp_path, WHOLE, workers=0)
    next(growing)
    next(growing)
    early = PreviewStore.open(tmp_path).previews()
    before = np.array(early.linear)
    list(growing)
    assert len(early) == 2
    assert np.array_equal(early.linear, before)
    assert np.array_equal(PreviewStore.open(tmp_path).previews().linear[:2], before)


def test_order_is_that_of_the_sources_whatever_finishes_first(tmp_path, monkeypatch):
    def backwards(function, tasks, *, workers, limits):
        yield from reversed(list(run_isolated(function, tasks, workers=workers, limits=limits)))

    monkeypatch.setattr(store_building, "run_isolated", backwards)
    built = build(some(5), tmp_path)
    assert built[0].name == "scene 4"
    assert PreviewStore.open(tmp_path).names() == tuple(f"scene {n}" for n in range(5))


def write_shots(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        write_dng(shot(number)[0], folder / f"{number:02}.dng")


def test_workers_and_a_file_that_is_no_picture(tmp_path):
    write_shots(tmp_path / "shots", 3)
    (tmp_path / "shots" / "01.dng").write_bytes(b"II*\0 torn")
    built = build(raw_sources([tmp_path / "shots"]), tmp_path / "store", SQUARE, workers=2)
    assert Counter(b.status for b in built) == {"done": 2, "failed": 1}
    store = PreviewStore.open(tmp_path / "store")
    assert [Path(name).name for name in store.names()] == ["00.dng", "02.dng"]
    ((name, reason),) = store.failures.items()
    assert name.endswith("01.dng")
    assert "damaged DNG structure" in reason


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="kills processes")
def test_killed_at_any_moment_a_store_ends_as_if_undisturbed(tmp_path):
    folder, out, calm = (tmp_path / name for name in ("shots", "out", "calm"))
    write_shots(folder, 30)
    build(raw_sources([folder]), calm, SQUARE)
    command = [sys.executable, str(Path(__file__).with_name("store_runs.py")), folder, out]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    rng = np.random.default_rng(0)
    finished: Counter[str] = Counter()
    for kill_after in (0, 10, None):
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
            bufsize=1,  # a line
        ) as run:
            assert run.stdin is not None
            assert run.stdout is not None
            killed = False
            for number, line in enumerate(run.stdout):
                status, name = line.split()
                assert status != "failed"
                finished.update([name] if status == "done" else [])
                if not killed:
                    run.stdin.write("next\n")
                if kill_after is not None and status == "done" and number >= kill_after:
                    time.sleep(rng.uniform(0, 0.1))
                    run.send_signal(signal.SIGKILL)
                    killed = True
        assert run.returncode == (0 if kill_after is None else -signal.SIGKILL)
        seen = PreviewStore.open(out)  # whatever is visible is whole
        assert not seen.scenes or len(seen.previews()) == len(seen.scenes)
    assert max(finished.values()) == 1  # nothing that was reported done is made twice
    assert content(out) == content(calm)


def test_two_processes_do_not_build_one_store(tmp_path):
    first = build_previews(some(2), tmp_path, WHOLE, workers=0)
    next(first)
    with pytest.raises(PreviewStoreError, match="another process is building it"):
        build(some(2), tmp_path)
    first.close()
    build(some(2), tmp_path)


def test_what_contradicts_itself_is_refused(tmp_path):
    build(some(1), tmp_path)
    with pytest.raises(PreviewStoreError, match=r"was begun with .*side=24.*choose another folder"):
        build(some(2), tmp_path, StoreSettings(side=32, square=False))
    with pytest.raises(PreviewStoreError, match="scene 0 is to be added twice"):
        build([*some(1), *some(1)], tmp_path)


def test_folders_that_are_no_store(tmp_path):
    with pytest.raises(PreviewStoreError, match=r"no preview store.*index\.json"):
        PreviewStore.open(tmp_path)
    build(some(1), tmp_path)
    linear = tmp_path / "linear_16x24.f16"
    linear.write_bytes(linear.read_bytes()[:-1])
    with pytest.raises(PreviewStoreError, match=r"f16: 2303 bytes, expected 2304 of 1 scenes"):
        PreviewStore.open(tmp_path).previews()
    index = json.loads((tmp_path / INDEX).read_text())
    (tmp_path / INDEX).write_text(json.dumps(index | {"format": 99}))
    with pytest.raises(PreviewStoreError, match="format 99"):
        PreviewStore.open(tmp_path)
    (tmp_path / INDEX).write_text("{")
    with pytest.raises(PreviewStoreError, match="damaged"):
        PreviewStore.open(tmp_path)


def test_an_empty_store(tmp_path):
    build([FakeSource(0, [], fails=True)], tmp_path)
    with pytest.raises(PreviewStoreError, match="none; no shape was named"):
        PreviewStore.open(tmp_path).previews()


def middle_grey(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return -(images.mean((1, 2, 3)) - 0.5).abs(), images.mean((2, 3)).repeat(1, 2)[:, :5]


def test_the_task_draws_its_scenes_from_a_store_by_seed(tmp_path):
    build(some(12), tmp_path, SQUARE)
    scenes = PreviewStore.open(tmp_path).previews()
    reward = QualityReward(middle_grey)
    batched = IspTuningVectorEnv(scenes, reward, 6, autoreset_mode=AutoresetMode.SAME_STEP)
    _, info = batched.reset(seed=3)
    drawn = info["scene"].tolist()
    assert batched.reset(seed=3)[1]["scene"].tolist() == drawn
    assert batched.reset(seed=4)[1]["scene"].tolist() != drawn
    assert len(set(drawn)) > 1
    single = IspTuningEnv(scenes, reward)
    first, _ = single.reset(options={"scene": drawn[0]})
    every, _ = batched.reset(seed=3)
    assert np.array_equal(first["image"], every["image"][0])
    assert isinstance(scenes.linear, np.memmap)  # read scene by scene
