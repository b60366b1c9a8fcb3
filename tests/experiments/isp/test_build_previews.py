"""The command that builds preview stores, from arguments to exit status."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import tifffile
import tyro
from PIL import Image

from experiments.isp.build_previews import Settings, main
from isp_env.color.output_spaces import PROPHOTO
from isp_env.raw.write_dng import write_dng
from isp_env.scenes.preview_store import PreviewStore
from isp_env.scenes.samples import NIKON_D750
from isp_env.scenes.simulation import Capture, simulate

PICTURE = np.moveaxis(skimage.data.astronaut()[:64, :96] / 255, 2, 0)


def run(*arguments: str | int | Path) -> int:
    return main(tyro.cli(Settings, args=["--workers", "0", *map(str, arguments)]))


def write_shot(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_dng(simulate(PICTURE, NIKON_D750, Capture(), np.random.default_rng(seed))[0], path)


def test_raw_files_with_one_broken(tmp_path, capsys):
    for seed in range(3):
        write_shot(tmp_path / "shots" / f"{seed}.dng", seed)
    (tmp_path / "shots" / "broken.dng").write_bytes(b"no picture")
    arguments = ("--out", tmp_path / "store", "--side", 32, "raw", "--paths", tmp_path / "shots")
    assert run(*arguments) == 1
    said = capsys.readouterr().err
    assert f"no preview of {tmp_path / 'shots' / 'broken.dng'}: " in said
    assert "3 of 32x32; 1 failed" in said
    (tmp_path / "shots" / "broken.dng").unlink()
    assert run(*arguments) == 0
    assert len(PreviewStore.open(tmp_path / "store").previews()) == 3


def test_a_draw_by_seed(tmp_path):
    for seed in range(8):
        write_shot(tmp_path / "shots" / f"{seed}.dng", seed)

    def names(store: str, seed: int) -> list[str]:
        out = tmp_path / store
        command = ("--out", out, "--side", 32, "--limit", 3, "--seed", seed)
        assert run(*command, "raw", "--paths", tmp_path / "shots") == 0
        return [Path(name).name for name in PreviewStore.open(out).names()]

    drawn = names("a", 1)
    assert len(drawn) == 3
    assert drawn == sorted(drawn)
    assert drawn == names("b", 1)
    assert drawn != names("c", 2)


def test_simulated_shots(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.fromarray(skimage.data.astronaut()[:64, :64]).save(tmp_path / "photos" / "a.png")
    out = ("--out", tmp_path / "store", "--side", 32, "--truth")
    assert run(*out, "simulate", "--photos", tmp_path / "photos", "--scenes", 4) == 0
    scenes = PreviewStore.open(tmp_path / "store").previews()
    assert scenes.truth is not None
    assert len(scenes) == 4
    (tmp_path / "empty").mkdir()
    assert run(*out, "simulate", "--photos", tmp_path / "empty", "--scenes", 4) == 2


def test_fivek(tmp_path, capsys):
    root = tmp_path / "fivek"
    name = "a4501-DSC_0038"
    write_shot(root / "dng" / f"{name}.dng")
    (root / "tiff16_c").mkdir()
    pixels = (np.moveaxis(PICTURE, 0, 2) * 65535).astype(np.uint16)
    tifffile.imwrite(
        root / "tiff16_c" / f"{name}.tif",
        pixels,
        photometric="rgb",
        iccprofile=PROPHOTO.icc_profile,
    )
    out = ("--out", tmp_path / "store", "--side", 48, "--no-square", "--truth")
    arguments = (*out, "fivek", "--root", root, "--split", "test_a")
    assert run(*arguments) == 2
    assert "no DNG of 499: a4502-*.dng" in capsys.readouterr().err
    assert run(*arguments, "--partial") == 0
    scenes = PreviewStore.open(tmp_path / "store").previews()
    assert scenes.linear.shape == (1, 3, 32, 48)
    assert scenes.truth is not None


def test_other_settings_need_another_folder(tmp_path, capsys):
    write_shot(tmp_path / "a.dng")
    source = ("raw", "--paths", tmp_path / "a.dng")
    assert run("--out", tmp_path / "store", "--side", 32, *source) == 0
    assert run("--out", tmp_path / "store", "--side", 16, *source) == 2
    assert "choose another folder" in capsys.readouterr().err


def test_nothing_is_written_before_the_inputs_are_found(tmp_path):
    assert run("--out", tmp_path / "store", "raw", "--paths", tmp_path / "absent") == 2
    assert not (tmp_path / "store").exists()


@pytest.mark.data
def test_the_cameras_of_the_test_data(data, tmp_path):
    assert run("--out", tmp_path / "store", "raw", "--paths", data / "raw" / "cameras") == 0
    scenes = PreviewStore.open(tmp_path / "store").previews()
    count = len(list((data / "raw" / "cameras").iterdir()))
    assert scenes.linear.shape == (count, 3, 160, 160)
    assert np.isfinite(scenes.linear).all()
    assert 0.005 < scenes.linear.mean() < 0.5
