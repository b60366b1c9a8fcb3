"""Studies from folders of pictures: their design, their pictures, and what is refused."""

import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from attiqa.data.photos.decoding import read_photo
from experiments.study.design import draw_design, draw_scenes
from experiments.study.key import read_key
from experiments.study.make_study import Settings, main
from experiments.study.pictures import PLAIN_DIFFERENCE
from tests.experiments.study.tiny_studies import study_of, write_pictures
from tests.isp_env.scenes.test_fivek import root  # noqa: F401


def refused(caplog, *folders: Path, out: Path, **settings) -> str:
    """The message of a study that is refused; nothing of it is there."""
    caplog.clear()
    few = Settings(folders, out=out, checks=1, repeats=0)
    assert main(replace(few, **settings)) == 1
    assert not [path for path in out.parent.glob("*study*") if path.name != "study"]
    return caplog.text


def test_a_design_has_every_pair_once_under_numbers_that_tell_nothing():
    scenes, systems = [f"s{n}" for n in range(40)], ["a", "b", "c"]
    design = draw_design(scenes, systems, scenes[:4], ".jpg", seed=0)
    assert len(design.pictures) == 40 * 3 + 4
    found = Counter()
    for files in design.pairs.values():
        shown = [design.pictures[file] for file in files]
        assert shown[0].scene == shown[1].scene
        assert not shown[0].degraded | shown[1].degraded
        found[shown[0].scene, *sorted(picture.system for picture in shown)] += 1
    assert found == Counter(
        (scene, *pair) for scene in scenes for pair in itertools.combinations(systems, 2)
    )
    for files in design.checks.values():
        shown = [design.pictures[file] for file in files]
        assert sorted(picture.degraded for picture in shown) == [False, True]
        assert len({(picture.scene, picture.system) for picture in shown}) == 1
    assert sorted(design.pairs | design.checks) == list(range(1, 125))
    # neither the number of a file, nor the place in a pair, nor the order follows the systems
    numbers = {file: int(Path(file).stem) for file in design.pictures}
    of_a = [numbers[f] for f, picture in design.pictures.items() if picture.system == "a"]
    assert abs(np.mean(of_a) - 62) < 15
    firsts = Counter(design.pictures[files[0]].system for files in design.pairs.values())
    assert min(firsts.values()) > 25
    assert design == draw_design(scenes, systems, scenes[:4], ".jpg", seed=0)
    assert design != draw_design(scenes, systems, scenes[:4], ".jpg", seed=1)


def test_scenes_are_drawn():
    scenes = [f"s{n}" for n in range(20)]
    drawn = draw_scenes(scenes, 5, seed=0)
    assert len(set(drawn)) == 5
    assert drawn == draw_scenes(scenes, 5, seed=0) != draw_scenes(scenes, 5, seed=1)
    assert sorted(draw_scenes(scenes, None, seed=0)) == sorted(scenes)


def test_the_page_names_no_system(tmp_path):
    out, key = study_of(tmp_path, per_participant=8)
    shown = [path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()]
    assert sorted(shown) == sorted(["index.html", *(f"pictures/{file}" for file in key.pictures)])
    page = (out / "index.html").read_text()
    assert str(tmp_path) not in page
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert set(data) == {
        *("title", "question", "intro", "consent", "ties", "perParticipant", "repeats"),
        *("pairs", "checks", "seed", "study"),
    }
    told = {name: value for name, value in data.items() if name not in ("intro", "consent")}
    assert not {"a", "b", "s0", "degraded"} & set(json.dumps(told).replace('"', " ").split())
    assert data["perParticipant"] == 8
    assert data["study"] == key.study
    assert {trial["trial"]: tuple(trial["pictures"]) for trial in data["pairs"]} == key.pairs


def test_pictures_of_a_scene_are_of_one_size_without_metadata(tmp_path):
    """A photograph on its side, in another colour space, and larger, beside a plain one."""
    pixels = np.random.default_rng(0).integers(0, 255, (60, 90, 3)).repeat(4, 0).repeat(4, 1)
    picture = Image.fromarray(pixels.astype(np.uint8))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "a/IMG.jpg", exif=exif, icc_profile=profile, quality=95)
    picture.resize((181, 120)).save(tmp_path / "b/IMG.PNG".lower())  # a pixel wider
    (tmp_path / "b/img.png").rename(tmp_path / "b/IMG.png")
    folders = (tmp_path / "a", tmp_path / "b")
    settings = Settings(
        folders, tmp_path / "study", long_side=100, checks=1, repeats=0, lossless=True
    )
    assert main(settings) == 0
    key = read_key(tmp_path / "study")
    for file, shown in key.pictures.items():
        with Image.open(tmp_path / "study/pictures" / file) as found:
            assert found.format == "PNG"
            assert found.size == (100, 66)
            assert not found.getexif()
            assert not {"icc_profile", "exif", "Software"} & set(found.info)
            if not shown.degraded:
                expected = np.asarray(picture.resize((100, 66), Image.Resampling.LANCZOS), float)
                assert np.abs(np.asarray(found, float) - expected).mean() < 12


def test_nothing_is_enlarged_and_copies_of_checks_are_plainly_worse(tmp_path):
    out, key = study_of(tmp_path, scenes=3, repeats=1)
    pictures = {file: read_photo(out / "pictures" / file) for file in key.pictures}
    assert {pixels.shape for pixels in pictures.values()} == {(48, 64, 3)}
    for files in key.checks.values():
        good, bad = sorted(files, key=lambda file: key.pictures[file].degraded)
        difference = pictures[good].astype(float) - pictures[bad]
        assert np.abs(difference).mean() > PLAIN_DIFFERENCE
        assert pictures[bad].std() < 0.7 * pictures[good].std()


def test_flat_scenes_make_no_checks(tmp_path, caplog):
    for name in ("a", "b"):
        folder = write_pictures(tmp_path / name, 1, 100)
        Image.new("RGB", (64, 48), (90, 90, 90)).save(folder / "flat.png")
    folders = (tmp_path / "a", tmp_path / "b")
    message = refused(caplog, *folders, out=tmp_path / "study", checks=2)
    assert "--checks 2: only 1 scenes have enough detail" in message
    assert main(Settings(folders, tmp_path / "study", checks=1, repeats=0)) == 0
    checks = read_key(tmp_path / "study").checks.values()
    key = read_key(tmp_path / "study")
    assert {key.pictures[file].scene for files in checks for file in files} == {"s0"}


def test_experts_of_fivek(root, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("agent")
    for path in sorted((root / "tiff16_c").glob("*.tif"))[:2]:
        Image.new("RGB", (96, 64), (200, 120, 30)).save(folder / f"{path.stem}.jpg")
    out = folder / "study"
    settings = Settings((folder,), out, ("agent",), fivek=root, checks=0, repeats=0, lossless=True)
    assert main(settings) == 0
    key = read_key(out)
    assert key.systems == ("agent", "expert C")
    assert len(key.pairs) == 2
    for file, shown in key.pictures.items():
        pixels = read_photo(out / "pictures" / file)
        assert pixels.shape == (64, 96, 3)
        flat = np.abs(pixels.astype(int) - (200, 120, 30)).max() < 4
        assert flat == (shown.system == "agent")


def test_what_makes_no_study_is_refused(tmp_path, caplog):
    a, b = (write_pictures(tmp_path / name, 4, 100) for name in ("a", "b"))
    portrait = write_pictures(tmp_path / "portrait", 4, 100, size=(64, 48))
    other, empty, twice = tmp_path / "other", tmp_path / "empty", tmp_path / "twice"
    for folder in (other, empty, twice):
        folder.mkdir()
    Image.new("RGB", (9, 9)).save(other / "x.png")
    for suffix in ("png", "jpg"):
        Image.new("RGB", (9, 9)).save(twice / f"x.{suffix}")
    intro = tmp_path / "intro.txt"
    intro.write_bytes(b"\xff")
    damaged = write_pictures(tmp_path / "damaged", 4, 100)
    (damaged / "s2.png").write_bytes(b"no picture")
    for folders, settings, expected in (
        ((a,), {}, "two or more systems"),
        ((a, a), {}, "different names, got a, a; use --names"),
        ((a, b), {"names": ("one",)}, "--names: expected 2"),
        ((a, tmp_path / "nowhere"), {}, "nowhere: no such folder"),
        ((a, empty), {}, "empty: no pictures"),
        ((a, twice), {}, "x.jpg and x.png share a stem"),
        ((a, other), {}, "no name is shared by all folders"),
        ((a, portrait), {}, "differ in shape"),
        ((a, damaged), {}, "s2.png"),
        ((a, b), {"scenes": 5}, "--scenes 5: only 4"),
        ((a, b), {"scenes": 0}, "--scenes: expected 1 or more"),
        ((a, b), {"per_participant": 5}, "--per-participant 5: the study has only 4"),
        ((a, b), {"repeats": 2}, "at most a third of the 4 pairs"),
        ((a, b), {"checks": -1}, "--checks: expected 0 or more"),
        ((a, b), {"long_side": 3}, "--long-side"),
        ((a, b), {"intro": intro}, "intro.txt: cannot be read as UTF-8"),
        ((a,), {"fivek": tmp_path}, "no name of FiveK"),
    ):
        message = refused(caplog, *folders, out=tmp_path / "study", **settings)
        assert expected in " ".join(message.split()), expected
        assert not (tmp_path / "study").exists()
        assert not list(tmp_path.glob(".*study*"))


def test_a_study_is_never_overwritten(tmp_path, caplog):
    out, _ = study_of(tmp_path)
    before = (out / "index.html").read_bytes()
    folders = (tmp_path / "a", tmp_path / "b")
    assert main(Settings(folders, out)) == 1
    assert "is there already" in caplog.text
    assert (out / "index.html").read_bytes() == before


def test_pictures_without_a_partner_are_left_out_with_a_warning(tmp_path, caplog):
    a, b = write_pictures(tmp_path / "a", 5, 100), write_pictures(tmp_path / "b", 4, 120)
    assert main(Settings((a, b), tmp_path / "study", checks=1, repeats=1)) == 0
    assert "1 pictures lack a partner and are left out: s4" in caplog.text
    assert len(read_key(tmp_path / "study").pairs) == 4
