import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.distributed as dist
from PIL import Image

import attiqa
from attiqa.cli import label as command
from attiqa.errors import DatasetLayoutError, LabelStoreError
from attiqa.labels import store
from attiqa.labels.columns import PHOTO_COLUMNS
from attiqa.labels.labelling import Labelling, label_folder
from attiqa.labels.loading import Loading
from attiqa.labels.photo_batches import Cut
from attiqa.labels.store import ShardWriter, labelled_photos, read_labels, recover, stored_paths

COUNT = 30
fork = multiprocessing.get_context("fork")
SMALL = Loading(batch_size=3, workers=0, shard_rows=7)


class ColorTeacher:
    """Five numbers of an evenly coloured image that the tests know beforehand."""

    name = "colour"

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        red, green, blue = images.mean(dim=(2, 3)).unbind(1)
        return torch.stack([red, green, blue, red - green, images.std(dim=(1, 2, 3))], dim=1)


def color(index: int) -> tuple[int, int, int]:
    return 5 * index, 255 - index, 7 * (index % 3)


def expected(index: int) -> list[float]:
    red, green, blue = (value / 255 for value in color(index))
    return [red, green, blue, red - green, np.repeat([red, green, blue], 64).std(ddof=1)]


def labelling(teacher: Any = None, **description: Any) -> Labelling:
    return Labelling(teacher or ColorTeacher(), Cut("center", 8), {"teacher": "x"} | description)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "sub").mkdir()
    for index in range(COUNT):
        name = f"sub/{index:02}.png" if index % 4 else f"{index:02}.png"
        Image.new("RGB", (9 + index, 20), color(index)).save(folder / name)
    return folder


def assert_whole(store: Path) -> None:
    """Every image once, with the labels that its colour has."""
    labels = read_labels(store)
    rows = [path for shard in store.glob("labels-*") for path in pq.read_table(shard)["path"]]
    assert len(rows) == len(labels.paths) == COUNT
    assert list(labels.paths) == sorted(labels.paths)
    for path, deltas in zip(labels.paths, labels.deltas, strict=True):
        assert deltas == pytest.approx(expected(int(Path(path).stem)), abs=1e-6), path
    assert not list(store.glob("*.journal"))


@pytest.mark.parametrize(
    "loading",
    [SMALL, Loading(64, 0), Loading(4, 2, 5)],
    ids=["small", "one batch", "workers"],
)
def test_labels_do_not_depend_on_batches_workers_or_shards(folder, tmp_path, loading):
    label_folder(folder, tmp_path, labelling(), loading)
    assert_whole(tmp_path)


def test_a_row_says_which_file_it_is_of(folder, tmp_path):
    label_folder(folder, tmp_path, labelling(), SMALL)
    shards = sorted(tmp_path.glob("labels-*.parquet"))
    assert [pq.read_metadata(shard).num_rows for shard in shards] == [9, 9, 9, 3]
    rows = pa.concat_tables(pq.read_table(shard) for shard in shards).to_pylist()
    row = next(row for row in rows if row["path"] == "sub/07.png")
    content = (folder / "sub/07.png").read_bytes()
    digest = subprocess.run(["sha256sum"], input=content, capture_output=True, check=True).stdout
    assert (row["width"], row["height"], row["bytes"]) == (16, 20, len(content))
    assert row["sha256"] == digest.decode().split()[0]
    assert pq.read_schema(shards[0]).field("sharpness").type == pa.float32()


class CountingTeacher(ColorTeacher):
    """Slow; sends the number of images that it was asked for."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.connection.send(len(images))
        time.sleep(0.01)
        return super().__call__(images)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_kill_at_any_moment_loses_one_batch_at_most(folder, tmp_path, workers):
    random = np.random.default_rng(workers)
    receiver, sender = fork.Pipe(duplex=False)
    loading = Loading(batch_size=2, workers=workers, shard_rows=5)
    labelled = 0

    def start():
        arguments = (folder, tmp_path, labelling(CountingTeacher(sender)), loading)
        process = fork.Process(target=label_folder, args=arguments)
        process.start()
        return process

    for _ in range(5):
        process = start()
        for _ in range(random.integers(1, 3)):
            labelled += receiver.recv()
        time.sleep(random.uniform(0, 0.015))
        process.kill()
        process.join()
        assert process.exitcode == -9
        while receiver.poll():
            labelled += receiver.recv()
        with pytest.raises(LabelStoreError, match=f"of {COUNT} images are done"):
            read_labels(tmp_path)
    process = start()
    process.join()
    while receiver.poll():
        labelled += receiver.recv()
    assert process.exitcode == 0
    assert_whole(tmp_path)
    assert labelled <= COUNT + 5 * loading.batch_size


class InterruptedTeacher(ColorTeacher):
    """Labels two batches; Ctrl-C comes in the third."""

    calls = 0

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls == 3:
            raise KeyboardInterrupt
        return super().__call__(images)


def test_a_finished_store_asks_no_teacher(folder, tmp_path):
    class Refusing(ColorTeacher):
        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            raise AssertionError("asked again")

    label_folder(folder, tmp_path, labelling(), SMALL)
    label_folder(folder, tmp_path, labelling(Refusing()), SMALL)
    assert_whole(tmp_path)


def test_an_interrupted_run_leaves_shards_and_goes_on(folder, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        label_folder(folder, tmp_path, labelling(InterruptedTeacher()), SMALL)
    assert len(stored_paths(tmp_path)) == 6
    assert not list(tmp_path.glob("*.journal"))
    label_folder(folder, tmp_path, labelling(), SMALL)
    assert_whole(tmp_path)


def test_a_journal_cut_anywhere_keeps_its_whole_batches(tmp_path):
    writer = ShardWriter(tmp_path, "rejects", rank=0, rows=100)
    journal = tmp_path / "rejects-r0000-000000.journal"
    sizes = []
    for batch in range(3):
        writer.append([(f"{batch}-{row}.png", "why") for row in range(4)])
        sizes.append(journal.stat().st_size)
    content = journal.read_bytes()
    for length in {*range(0, len(content), 37), *sizes, *(size - 1 for size in sizes)}:
        store = tmp_path / str(length)
        store.mkdir()
        (store / journal.name).write_bytes(content[:length])
        recover(store)
        whole = sum(size <= length for size in sizes)
        names = {f"{batch}-{row}.png" for batch in range(whole) for row in range(4)}
        assert stored_paths(store) == names, length
        assert not (store / journal.name).exists()


def test_a_kill_between_the_shard_and_the_end_of_its_journal_repeats_no_row(tmp_path):
    writer = ShardWriter(tmp_path, "rejects", rank=0, rows=100)
    writer.append([("a.png", "why")])
    journal = tmp_path / "rejects-r0000-000000.journal"
    content = journal.read_bytes()
    writer.close()
    journal.write_bytes(content)
    journal.with_suffix(".part").write_bytes(b"half a shard")
    recover(tmp_path)
    (shard,) = tmp_path.glob("rejects*")
    assert pq.read_table(shard)["path"].to_pylist() == ["a.png"]


def test_rejects_have_a_reason_and_are_tried_again_only_when_asked(folder, tmp_path):
    photos, store = tmp_path / "photos", tmp_path / "store"
    shutil.copytree(folder, photos)
    whole = (photos / "04.png").read_bytes()
    (photos / "04.png").write_bytes(whole[: len(whole) // 2])
    (photos / "sub/05.png").write_text("no image")
    (photos / "08.png").write_bytes(b"")
    label_folder(photos, store, labelling(), SMALL)
    labels = read_labels(store)
    assert set(labels.rejects) == {"04.png", "08.png", "sub/05.png"}
    assert all(path in reason for path, reason in labels.rejects.items())
    assert len(labels.paths) == COUNT - 3

    (photos / "04.png").write_bytes(whole)
    label_folder(photos, store, labelling(), SMALL)
    assert set(read_labels(store).rejects) == {"04.png", "08.png", "sub/05.png"}
    label_folder(photos, store, labelling(), SMALL, retry_rejects=True)
    labels = read_labels(store)
    assert set(labels.rejects) == {"08.png", "sub/05.png"}
    found = labels.deltas[labels.paths.index("04.png")]
    assert found == pytest.approx(expected(4), abs=1e-6)


def test_a_label_that_is_no_number_is_a_reject(folder, tmp_path):
    class Broken(ColorTeacher):
        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            deltas = super().__call__(images)
            deltas[images[:, 0].amax(dim=(1, 2)) == 30 / 255, 2] = torch.nan
            return deltas

    label_folder(folder, tmp_path, labelling(Broken()), SMALL)
    labels = read_labels(tmp_path)
    assert list(labels.rejects) == ["sub/06.png"]
    assert "not finite" in labels.rejects["sub/06.png"]
    assert len(labels.paths) == COUNT - 1


def test_a_store_continues_only_under_its_own_conditions(folder, tmp_path, monkeypatch):
    label_folder(folder, tmp_path, labelling(prompts={"sharpness": ["Sharp", "Blurry"]}), SMALL)
    before = read_labels(tmp_path).deltas
    other = labelling(prompts={"sharpness": ["Crisp", "Blurry"]})
    with pytest.raises(LabelStoreError, match=r"teacher.prompts.sharpness was \['Sharp'.*'Crisp'"):
        label_folder(folder, tmp_path, other, SMALL)
    same = labelling(prompts={"sharpness": ["Sharp", "Blurry"]})
    wider = Labelling(same.teacher, Cut("center", 9), same.description)
    with pytest.raises(LabelStoreError, match=r"cut\.side was 8, now 9"):
        label_folder(folder, tmp_path, wider, SMALL)
    monkeypatch.setattr("attiqa.labels.labelling.version", lambda name: "0")
    with pytest.raises(LabelStoreError, match=r"versions\.attiqa"):
        label_folder(folder, tmp_path, same, SMALL)
    monkeypatch.undo()
    monkeypatch.setattr("attiqa.labels.labelling.DECIDING", ("data/views",))
    with pytest.raises(LabelStoreError, match="code_sha256 was"):
        label_folder(folder, tmp_path, same, SMALL)
    monkeypatch.undo()
    assert np.array_equal(read_labels(tmp_path).deltas, before)


def test_a_store_is_of_one_list_of_images(folder, tmp_path):
    photos, store = tmp_path / "photos", tmp_path / "store"
    shutil.copytree(folder, photos)
    label_folder(photos, store, labelling(), SMALL)
    (photos / "00.png").rename(photos / "zz.png")
    with pytest.raises(LabelStoreError, match=r"images\.sha256"):
        label_folder(photos, store, labelling(), SMALL)


def test_broken_stores_are_not_read(folder, tmp_path):
    with pytest.raises(LabelStoreError, match=r"manifest.json"):
        read_labels(tmp_path)
    label_folder(folder, tmp_path, labelling(), SMALL)
    first, *_, last = sorted(tmp_path.glob("labels-*.parquet"))
    content = first.read_bytes()
    twin = tmp_path / "labels-r0009-000000.parquet"
    twin.write_bytes(content)
    with pytest.raises(LabelStoreError, match="twice"):
        read_labels(tmp_path)
    twin.unlink()
    first.write_bytes(content[:-9])
    with pytest.raises(LabelStoreError, match=first.name):
        read_labels(tmp_path)
    first.write_bytes(content)
    table = pq.read_table(last)
    paths = pa.array([f"other{row}.png" for row in range(len(table))])
    pq.write_table(table.set_column(0, "path", paths), last)
    with pytest.raises(LabelStoreError, match="not the images"):
        read_labels(tmp_path)


def test_a_folder_without_images_and_a_name_that_is_not_unicode(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(DatasetLayoutError, match="no image files"):
        label_folder(tmp_path / "photos", tmp_path / "store", labelling(), SMALL)
    Image.new("RGB", (9, 9)).save(tmp_path / "photos" / "a.png")
    os.rename(tmp_path / "photos" / "a.png", os.fsencode(tmp_path / "photos") + b"/\xff.png")
    with pytest.raises(DatasetLayoutError, match="Unicode"):
        label_folder(tmp_path / "photos", tmp_path / "store", labelling(), SMALL)


def together(processes: int, rendezvous: Path, work: Callable[[], None]) -> None:
    """Run `work` in processes that `torch.distributed` joins."""

    def join(rank: int) -> None:
        init = f"file://{rendezvous}"
        dist.init_process_group("gloo", init, rank=rank, world_size=processes)
        work()
        dist.destroy_process_group()

    running = [fork.Process(target=join, args=(rank,)) for rank in range(processes)]
    for process in running:
        process.start()
    for process in running:
        process.join()
    assert [process.exitcode for process in running] == [0] * processes


def test_other_numbers_of_processes_finish_what_one_began(folder, tmp_path):
    def begin() -> None:
        with pytest.raises(KeyboardInterrupt):
            label_folder(folder, store, labelling(InterruptedTeacher()), SMALL)

    store = tmp_path / "store"
    begin()
    assert len(stored_paths(store)) == 6
    together(2, tmp_path / "two", begin)
    assert len(stored_paths(store)) == 18
    together(3, tmp_path / "three", lambda: label_folder(folder, store, labelling(), SMALL))
    assert_whole(store)


def test_two_runs_do_not_write_one_store(folder, tmp_path):
    receiver, sender = fork.Pipe(duplex=False)
    arguments = (folder, tmp_path, labelling(CountingTeacher(sender)), SMALL)
    process = fork.Process(target=label_folder, args=arguments)
    process.start()
    receiver.recv()
    with pytest.raises(LabelStoreError, match="another run"):
        label_folder(folder, tmp_path, labelling(), SMALL)
    process.join()
    assert_whole(tmp_path)


@pytest.mark.slow
def test_torchrun_labels_as_one_process_does(folder, tmp_path):
    program = tmp_path / "program.py"
    program.write_text("from attiqa.cli.main import main\nmain()\n")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    options = ["--teacher", "measured", "--side", "32", "--loading.workers", "0", "--out"]
    root = str(Path(attiqa.__file__).parents[1])
    subprocess.run(
        [*launch, str(program), "label", str(folder), *options, str(tmp_path / "two")],
        env=os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    settings = command.Settings(folder, tmp_path / "one", "measured", side=32, loading=SMALL)
    command.main(settings)
    one, two = (read_labels(tmp_path / name) for name in ("one", "two"))
    assert one.paths == two.paths
    assert len(list((tmp_path / "two").glob("labels-r0001*"))) == 1
    assert two.deltas == pytest.approx(one.deltas, abs=1e-6)
    assert one.manifest == two.manifest


def test_labels_and_photographs_for_training(folder, tmp_path):
    label_folder(folder, tmp_path, labelling(), SMALL)
    photos, deltas = labelled_photos(tmp_path, folder)
    assert len(photos) == COUNT
    assert deltas.dtype == torch.float32
    for index in (0, 11, 29):
        assert photos[index][0, 0] / 255 == pytest.approx(deltas[index, :3].numpy(), abs=1e-6)


def test_columns_that_no_attribute_may_be_called_by():
    assert tuple(store.PHOTO.names) == PHOTO_COLUMNS
