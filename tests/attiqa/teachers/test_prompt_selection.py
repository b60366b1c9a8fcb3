import json
import zlib
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from matplotlib.patches import Rectangle
from PIL import Image
from safetensors.torch import save_model
from scipy import stats

from attiqa.attributes import ATTRIBUTES, CANDIDATES, PROMPTS, Candidates
from attiqa.cli import select_prompts as command
from attiqa.cli.settings.clip import ClipEncoder
from attiqa.distortions.ladders import ATTRIBUTE_LADDERS, distort
from attiqa.errors import CheckpointError, DatasetLayoutError
from attiqa.model.inputs import to_tensor
from attiqa.teachers.embedding_cache import SHARD, EmbeddingCache
from attiqa.teachers.prompt_selection import (
    PairScores,
    embed_ladders,
    embed_photos,
    pair_labels,
    select_prompts,
    shrink,
    spearman,
    to_json,
)
from attiqa.teachers.selected_prompts import read_prompts
from attiqa.teachers.teacher import ClipTeacher

FEW = MappingProxyType(
    {
        name: Candidates(
            (pair.positive, "Good image", "Fine image"), (pair.negative, "Bad image", "Poor image")
        )
        for name, pair in PROMPTS.items()
    }
)


class Statistics:
    """An encoder that needs no weights: moments of the image, and texts at random."""

    def __init__(self, name: str = "statistics", stop_at: int | None = None) -> None:
        self.encoder = {"architecture": name}
        self.encoded = 0
        self.stop_at = stop_at

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        if self.stop_at is not None and self.encoded + len(images) > self.stop_at:
            raise KeyboardInterrupt
        self.encoded += len(images)
        steps = images.diff(dim=-1).abs().mean(dim=(2, 3))
        moments = (images.mean(dim=(2, 3)), images.std(dim=(2, 3)), 5 * steps)
        return torch.nn.functional.normalize(torch.cat(moments, dim=1), dim=1)

    def encode_prompts(self, prompts: tuple[str, ...]) -> torch.Tensor:
        rows = [np.random.default_rng(zlib.crc32(text.encode())).normal(size=9) for text in prompts]
        return torch.nn.functional.normalize(torch.tensor(np.array(rows)).float(), dim=1)


@pytest.fixture
def photos(small) -> list[torch.Tensor]:
    return [(image * 255).round().to(torch.uint8) for image in small]


def srocc(values: Any, reference: Any) -> float:
    result: Any = stats.spearmanr(values, reference)
    return result.statistic


def scores_of(table: list[list[float]], human: list[list[float]] | None = None) -> PairScores:
    rows, columns = np.array(table).shape
    candidates = Candidates(
        tuple(f"p{row} image" for row in range(rows)), tuple(f"n{c} image" for c in range(columns))
    )
    return PairScores(candidates, np.array(table), None if human is None else np.array(human))


def test_spearman_against_scipy_row_by_row_with_ties():
    random = np.random.default_rng(0)
    values = random.integers(0, 6, (4, 5, 20)).astype(np.float32)
    reference = random.integers(0, 4, 20).astype(float)
    found = spearman(values, reference)
    for index in np.ndindex(4, 5):
        expected = srocc(values[index], reference)
        assert found[index] == pytest.approx(expected, abs=1e-12)


def test_spearman_of_what_does_not_move_is_zero():
    values = np.stack([np.full(6, 0.1), np.arange(6.0)])
    assert spearman(values, np.arange(6.0)).tolist() == pytest.approx([0, 1])
    assert spearman(values, np.full(6, 3.0)).tolist() == [0, 0]


def test_labels_are_differences_of_cosines_for_every_pair():
    random = np.random.default_rng(1)
    features, positive, negative = (random.normal(size=(n, 8)) for n in (6, 3, 2))
    found = pair_labels(features, positive, negative)
    assert found.shape == (3, 2, 6)
    for p, q, n in np.ndindex(3, 2, 6):
        expected = sum(features[n] * positive[p]) - sum(features[n] * negative[q])
        assert found[p, q, n] == pytest.approx(expected, abs=1e-5)


def test_both_tasks_pair_by_pair_with_scipy(photos, tmp_path):
    encoder = Statistics()
    cache = EmbeddingCache(encoder, tmp_path)
    ladder_features = embed_ladders(cache, photos, ATTRIBUTE_LADDERS)
    rated = embed_photos(cache, [photo[:, :40] for photo in photos] + photos)
    ratings = np.random.default_rng(0).integers(0, 5, (8, 5)).astype(float)
    results = select_prompts(cache, ladder_features, ATTRIBUTE_LADDERS, rated, ratings, FEW)
    for column, name in enumerate(ATTRIBUTES):
        levels = ATTRIBUTE_LADDERS[name].levels
        for i, j in np.ndindex(3, 3):
            texts = (FEW[name].positive[i], FEW[name].negative[j])
            positive, negative = encoder.encode_prompts(texts).numpy()
            direction = positive - negative
            per_photo = [srocc(features @ direction, levels) for features in ladder_features[name]]
            assert results[name].distortion[i, j] == pytest.approx(np.mean(per_photo), abs=1e-9)
            human = srocc(rated @ direction, ratings[:, column])
            assert results[name].table("human")[i, j] == pytest.approx(human, abs=1e-9)
            assert results[name].table()[i, j] == pytest.approx(np.mean(per_photo) + human)


def test_the_planted_pair_wins_each_attribute(tmp_path):
    random = np.random.default_rng(0)
    axes = dict(zip(ATTRIBUTES, np.eye(32)[:5], strict=True))
    planted = {name: (7 * k + 3, 49 - 6 * k) for k, name in enumerate(ATTRIBUTES)}

    class Planted(Statistics):
        def encode_prompts(self, prompts: tuple[str, ...]) -> torch.Tensor:
            rows = np.random.default_rng(zlib.crc32(prompts[0].encode())).normal(size=(50, 32))
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            for name, (row, column) in planted.items():
                positive, negative = CANDIDATES[name]
                if prompts == positive:
                    rows[row] = axes[name]
                if prompts == negative:
                    rows[column] = -axes[name]
            return torch.from_numpy(rows).float()

    levels = {name: np.array(ATTRIBUTE_LADDERS[name].levels) for name in ATTRIBUTES}
    ladder_features = {
        name: 0.2 * random.normal(size=(100, len(values), 32))
        + 0.1 * np.arange(len(values))[:, None] * axes[name]
        for name, values in levels.items()
    }
    ratings = random.uniform(size=(200, 5))
    rated = 0.1 * random.normal(size=(200, 32)) + ratings @ np.stack(list(axes.values()))
    cache = EmbeddingCache(Planted(), tmp_path)
    results = select_prompts(cache, ladder_features, ATTRIBUTE_LADDERS, rated, ratings)
    for name, scores in results.items():
        for task in ("distortion", "human", "sum"):
            assert scores.place("best", task) == planted[name], (name, task)


def test_best_median_and_worst_of_each_task():
    scores = scores_of([[0.1, 0.5], [0.3, -0.2], [0.4, 0.0]], [[0.9, 0.0], [0, 0], [0, -0.8]])
    # sums: 1.0 .5 | .3 -.2 | .4 -.8
    assert scores.place("best", "distortion") == (0, 1)
    assert [scores.place(place) for place in ("best", "median", "worst")] == [
        (0, 0),
        (1, 0),
        (2, 1),
    ]
    # sizes in falling order: 1.0 .8 .5 | .4 .3 .2: the lowest sum is not the least informative one
    assert scores.place("median-informative") == (2, 0)
    assert scores.place("least-informative") == (1, 1)
    assert scores.describe(2, 0) == {
        "positive": "p2 image",
        "negative": "n0 image",
        "distortion": 0.4,
        "human": 0.0,
        "sum": 0.4,
        "rank": 3,
    }


def test_without_human_scores_distortions_decide():
    scores = scores_of([[0.1, 0.5]])
    assert scores.table().tolist() == [[0.1, 0.5]]
    assert scores.describe(0, 1)["human"] is None
    with pytest.raises(ValueError, match="human"):
        scores.table("human")


def test_features_and_ratings_belong_together(photos, tmp_path):
    cache = EmbeddingCache(Statistics(), tmp_path)
    ladder_features = embed_ladders(cache, photos, ATTRIBUTE_LADDERS)
    rated = embed_photos(cache, photos)
    with pytest.raises(ValueError, match="both or neither"):
        select_prompts(cache, ladder_features, ATTRIBUTE_LADDERS, rated, None, FEW)
    missing = np.full((4, 5), np.nan)
    with pytest.raises(ValueError, match="finite"):
        select_prompts(cache, ladder_features, ATTRIBUTE_LADDERS, rated, missing, FEW)


def test_a_distortion_without_effect_counts_as_zero(photos, tmp_path):
    grey = photos[0].float().mean(0, keepdim=True).round().to(torch.uint8).expand(3, -1, -1)
    cache = EmbeddingCache(Statistics(), tmp_path)
    features = embed_ladders(cache, [grey], ATTRIBUTE_LADDERS)
    results = select_prompts(cache, features, ATTRIBUTE_LADDERS, candidates=FEW)
    assert (results["colorfulness"].distortion == 0).all()
    assert (results["brightness"].distortion != 0).all()


def test_ladders_are_encoded_as_8_bit_images_with_nested_noise(photos, tmp_path):
    ladder = ATTRIBUTE_LADDERS["noisiness"]
    seen: list[torch.Tensor] = []

    class Recorder(Statistics):
        def encode_images(self, images: torch.Tensor) -> torch.Tensor:
            seen.extend(images)
            return super().encode_images(images)

    forward = embed_ladders(EmbeddingCache(Recorder(), tmp_path / "a"), photos, {"n": ladder}, 3)
    assert all(torch.equal((image * 255).round() / 255, image) for image in seen)
    noise = [image - seen[len(ladder.levels) - 1] for image in seen[: len(ladder.levels) - 1]]
    field = [(part / part.std()).flatten() for part in noise]
    assert (field[0] * field[1]).mean() > 0.8  # one field, scaled (and clipped)
    backward = embed_ladders(
        EmbeddingCache(Statistics(), tmp_path / "b"), photos[::-1], {"n": ladder}, 3
    )
    assert np.array_equal(forward["n"], backward["n"][::-1])
    other = embed_ladders(EmbeddingCache(Statistics(), tmp_path / "c"), photos, {"n": ladder}, 4)
    assert not np.array_equal(forward["n"], other["n"])
    clean = photos[0][None].float() / 255
    expected = Statistics().encode_images(distort(clean, ladder, 0.0))
    assert torch.allclose(torch.from_numpy(forward["n"][0, -1]), expected[0], atol=1e-6)


def test_nothing_is_encoded_twice(photos, tmp_path):
    first = Statistics()
    features = embed_photos(EmbeddingCache(first, tmp_path), photos + photos)
    assert first.encoded == 4
    again = Statistics()
    assert np.array_equal(embed_photos(EmbeddingCache(again, tmp_path), photos * 2), features)
    assert again.encoded == 0
    assert np.array_equal(features[:4], first.encode_images(torch.stack(photos).float() / 255))
    other = Statistics("another model")
    embed_photos(EmbeddingCache(other, tmp_path), photos)
    assert other.encoded == 4


def test_an_interrupted_run_continues(photos, tmp_path):
    whole, stopped, resumed = Statistics(), Statistics(stop_at=100), Statistics()
    expected = embed_ladders(EmbeddingCache(whole, tmp_path / "a"), photos, ATTRIBUTE_LADDERS)
    with pytest.raises(KeyboardInterrupt):
        embed_ladders(EmbeddingCache(stopped, tmp_path / "b"), photos, ATTRIBUTE_LADDERS)
    found = embed_ladders(EmbeddingCache(resumed, tmp_path / "b"), photos, ATTRIBUTE_LADDERS)
    assert stopped.encoded % SHARD > 0
    assert resumed.encoded == whole.encoded - stopped.encoded
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_a_broken_shard_is_named(photos, tmp_path):
    cache = EmbeddingCache(Statistics(), tmp_path)
    embed_photos(cache, photos)
    (shard,) = cache.folder.glob("*.npz")
    shard.write_bytes(shard.read_bytes()[:-30])
    with pytest.raises(CheckpointError, match=f"{shard.name}.*delete it"):
        EmbeddingCache(Statistics(), tmp_path)


def test_only_large_photographs_are_shrunk(photo):
    assert shrink(photo, 100).shape == (3, 100, 100)
    assert np.array_equal(shrink(photo, 512).permute(1, 2, 0), photo)
    assert np.array_equal(shrink(photo[:50], 100).permute(1, 2, 0), photo[:50])


def test_the_chosen_pairs_are_read_back(tmp_path):
    results = {name: scores_of([[0.1, 0.2 + k], [-0.3, 0.0]]) for k, name in enumerate(ATTRIBUTES)}
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"attributes": to_json(results)}))
    assert set(read_prompts(path).values()) == {("p0 image", "n1 image")}
    assert set(read_prompts(path, "median").values()) == {("p1 image", "n1 image")}
    assert set(read_prompts(path, "worst", "distortion").values()) == {("p1 image", "n0 image")}
    assert list(read_prompts(path)) == list(ATTRIBUTES)
    with pytest.raises(CheckpointError, match="human"):
        read_prompts(path, "best", "human")


def test_the_figure_marks_the_best_pair():
    results = {name: scores_of([[0.1, 0.2], [0.7, 0.0]]) for name in ATTRIBUTES}
    figure = command.draw(results)
    for axes, name in zip(figure.axes, ATTRIBUTES, strict=False):
        assert axes.get_title() == f"{name}: p1 image / n0 image, 0.700"
        (mark,) = (patch for patch in axes.patches if isinstance(patch, Rectangle))
        assert mark.get_xy() == (-0.5, 0.5)


@pytest.fixture
def settings(photos, tmp_path) -> command.Settings:
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": {"vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    (tmp_path / "selecting-clip.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "selecting-clip.json")
    weights = tmp_path / "weights.safetensors"
    save_model(ClipTeacher("selecting-clip", None).model, str(weights))
    for folder in ("photos", "SPAQ/TestImage", "SPAQ/Annotations"):
        (tmp_path / folder).mkdir(parents=True)
    lines = ["Image name,MOS," + ",".join(name.capitalize() for name in ATTRIBUTES[::-1])]
    for number, photo in enumerate(photos):
        image = Image.fromarray(photo.permute(1, 2, 0).numpy())
        image.save(tmp_path / f"photos/{number}.png")
        image.save(tmp_path / f"SPAQ/TestImage/{number:05}.png")
        lines.append(f"{number:05}.png,{number},{number},3,{number},{9 - number},{number % 2}")
    labels = tmp_path / "SPAQ/Annotations/MOS and Image attribute scores.csv"
    labels.write_text("\n".join(lines))
    return command.Settings(
        (tmp_path / "photos",),
        tmp_path / "out",
        tmp_path / "SPAQ",
        subset=True,
        encoder=ClipEncoder("selecting-clip", str(weights)),
        cache=tmp_path / "cache",
    )


def test_the_command_writes_all_tables_and_a_figure(settings, photos, tmp_path, monkeypatch):
    command.main(settings)
    record = json.loads((tmp_path / "out/prompts.json").read_text())
    with Image.open(tmp_path / "out/prompts.png") as figure:
        assert figure.format == "PNG"
    assert record["photos"]["count"] == len(record["spaq"]["names"]) == 4
    assert record["encoder"]["architecture"] == record["settings"]["encoder"]["clip"]
    teacher = ClipTeacher("selecting-clip", settings.encoder.clip_weights)
    rated = torch.cat([teacher.encode_images(photo[None].float() / 255) for photo in photos])
    row, column = 11, 42
    for name, ratings in (("sharpness", [0, 1, 0, 1]), ("noisiness", [0, 1, 2, 3])):
        found = record["attributes"][name]
        assert np.shape(found["tables"]["sum"]) == (50, 50)
        texts = (found["positive"][row], found["negative"][column])
        positive, negative = teacher.encode_prompts(texts)
        expected = srocc(rated @ (positive - negative), ratings)
        assert found["tables"]["human"][row][column] == pytest.approx(expected)
        assert found["table_1"]["positive"] == PROMPTS[name].positive
    chosen = read_prompts(tmp_path / "out/prompts.json")
    best = np.max(record["attributes"]["contrast"]["tables"]["sum"])
    assert record["attributes"]["contrast"]["selected"]["sum"]["best"]["sum"] == best
    assert list(ClipTeacher("selecting-clip", None, prompts=chosen).prompts) == list(ATTRIBUTES)

    def encode_again(*_: object) -> None:
        raise AssertionError("all features are in the cache")

    monkeypatch.setattr(ClipTeacher, "encode_images", encode_again)
    command.main(settings)
    assert json.loads((tmp_path / "out/prompts.json").read_text()) == record


def test_a_share_of_spaq_is_named(settings, tmp_path):
    command.main(replace(settings, spaq_share=0.5))
    record = json.loads((tmp_path / "out/prompts.json").read_text())
    assert len(record["spaq"]["names"]) == 2
    shown = [tmp_path / "SPAQ/TestImage" / name for name in record["spaq"]["names"]]
    teacher = ClipTeacher("selecting-clip", settings.encoder.clip_weights)
    rated = torch.cat([teacher.encode_images(to_tensor(path)[None]) for path in shown])
    found = record["attributes"]["noisiness"]  # rises with the number of the photograph
    positive, negative = teacher.encode_prompts((found["positive"][5], found["negative"][8]))
    expected = srocc(rated @ (positive - negative), [0, 1])
    assert found["tables"]["human"][5][8] == pytest.approx(expected)


def test_without_spaq_distortions_decide(settings, tmp_path):
    command.main(replace(settings, spaq=None))
    record = json.loads((tmp_path / "out/prompts.json").read_text())
    assert set(record["attributes"]["contrast"]["tables"]) == {"distortion", "sum"}
    assert record["spaq"]["names"] == []


def test_photographs_must_be_given(tmp_path):
    with pytest.raises(DatasetLayoutError, match="none were given"):
        command.Settings((), tmp_path).check()
