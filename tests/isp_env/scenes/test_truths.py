"""Which photographs are whose, and crops of photographs whose pixels say where they lie."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from isp_env.scenes.truths import (
    ASPECTS,
    part_of,
    photographs_in,
    random_crops,
    random_size,
    read_truths,
)


def test_a_fifth_is_held_out_and_a_fifth_for_referees_by_name_alone():
    names = [f"photo {number}.jpg" for number in range(5000)]
    counts = Counter(part_of(name) for name in names)
    assert counts["held out"] / 5000 == pytest.approx(0.2, abs=0.02)
    assert counts["referee"] / 5000 == pytest.approx(0.2, abs=0.02)
    assert counts["training"] / 5000 == pytest.approx(0.6, abs=0.02)


@pytest.mark.parametrize(
    ("name", "part"),
    # the first four bytes of sha256sum as a little-endian number, modulo 10: 1, 2, 4, 5
    [
        ("kodim01.png", "held out"),
        ("kodim03.png", "referee"),
        ("kodim04.png", "training"),
        ("kodim02.png", "training"),
    ],
)
def test_the_parts_of_named_photographs_stay(name, part):
    assert part_of(name) == part


def test_image_files_are_found_in_order(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt", "c.webp"):
        (tmp_path / name).touch()
    assert [path.name for path in photographs_in(tmp_path)] == ["a.png", "b.JPG", "c.webp"]


def test_photographs_are_read_upright_and_reduced_but_never_enlarged(tmp_path):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30] = 200  # the left half is light
    exif = Image.Exif()
    exif[274] = 6  # to be turned by 90 degrees clockwise: the left half comes to the top
    Image.fromarray(pixels).save(tmp_path / "held.png", exif=exif)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    upright, grey = read_truths([tmp_path / "held.png", tmp_path / "grey.png"], 20)
    assert upright.shape == (30, 20, 3)
    assert upright[2].min() == 200
    assert upright[-3].max() == 0
    assert grey.shape == (20, 30, 3)
    (whole,) = read_truths([tmp_path / "held.png"], 100)
    assert whole.shape == (60, 40, 3)


def test_sizes_are_even_and_of_usual_aspects():
    random = np.random.default_rng(0)
    sizes = Counter(random_size(random, 128) for _ in range(2000))
    assert len(sizes) == len(ASPECTS)
    assert all(height % 2 == width % 2 == 0 for height, width in sizes)
    assert all(max(size) == 128 for size in sizes)
    expected = {128 * h / w if w > h else 128 * w / h for w, h in ASPECTS}
    assert sorted(min(s) for s in sizes) == pytest.approx(
        sorted([*expected, *(128 * min(a) / max(a) for a in ((2, 3), (3, 4)))]), abs=1
    )
    assert sizes.most_common(1)[0][0] == (86, 128)
    assert sizes[86, 128] / 2000 == pytest.approx(0.35, abs=0.04)


def ramp(height: int, width: int) -> np.ndarray:
    """Red tells the row, green the column, each as a share of the side."""
    rows, columns = np.mgrid[:height, :width]
    shares = np.stack([rows / (height - 1), columns / (width - 1), 0 * rows], axis=2)
    return (shares * 255).round().astype(np.uint8)


def test_crops_are_parts_of_their_photographs_flipped_or_not():
    random = np.random.default_rng(0)
    photos = [ramp(120, 160)] * 40
    crops = random_crops(photos, (32, 48), random, least=0.5)
    assert crops.shape == (40, 3, 32, 48)
    assert crops.min() >= 0
    assert crops.max() <= 1
    down = crops[:, 0].mean(2)  # rises from top to bottom
    assert (down[:, 1:] > down[:, :-1]).all()
    across = crops[:, 1].mean(1)
    flipped = across[:, -1] < across[:, 0]
    assert 10 < flipped.sum() < 30
    shares = (across[:, -1] - across[:, 0]).abs() * 48 / 47
    assert shares.min() == pytest.approx(0.5, abs=0.05)  # of the width, which the crop fills
    assert shares.max() == pytest.approx(1.0, abs=0.05)
    tops = down[:, 0]
    assert tops.min() < 0.1
    assert tops.std() > 0.05  # not always from the same place
    # not distorted: a crop of 3 x 2 sees 48 / 32 as many columns as rows
    heights = (down[:, -1] - down[:, 0]) * 32 / 31 * 119
    assert (shares * 159 / heights).numpy() == pytest.approx(1.5, abs=0.05)


def test_a_photograph_of_the_size_asked_for_is_returned_as_it_is():
    photo = ramp(32, 48)
    crop = random_crops([photo], (32, 48), np.random.default_rng(1), least=1.0)[0]
    pixels = torch.from_numpy(photo).permute(2, 0, 1).float() / 255
    assert min((crop - x).abs().max().item() for x in (pixels, pixels.flip(-1))) < 1e-6


def test_the_same_generator_cuts_the_same_crops():
    photos = [ramp(60, 80), ramp(50, 50)]
    once, again, other = (
        random_crops(photos, (16, 16), np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
