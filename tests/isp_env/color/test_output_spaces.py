"""Output spaces against published matrices, and their profiles against littleCMS."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from isp_env.color.output_spaces import DISPLAY_P3, PROPHOTO, SPACES, SRGB, romm_encode
from isp_env.color.rgb import REC709_LUMINANCE, XYZ_FROM_REC709
from isp_env.isp.default import default_pipeline
from isp_env.render.frame import render_raw
from isp_env.scenes.samples import NIKON_D750
from isp_env.scenes.simulation import Capture, simulate


def test_matrices_against_published_ones():
    # CSS Color Module Level 4, section 20 (sample code): linear sRGB -> Display P3, ROMM
    p3 = [[0.82246, 0.17754, 0.0], [0.03319, 0.96681, 0.0], [0.01708, 0.07240, 0.91052]]
    assert DISPLAY_P3.from_rec709 == pytest.approx(np.array(p3), abs=2e-4)
    # Lindbloom: sRGB -> XYZ (D50) -> ProPhoto by Bradford
    d50_from_srgb = np.array(
        [
            [0.4360747, 0.3850649, 0.1430804],
            [0.2225045, 0.7168786, 0.0606169],
            [0.0139322, 0.0971045, 0.7141733],
        ]
    )
    romm_from_d50 = np.array(
        [[1.3459433, -0.2556075, -0.0511118], [-0.5445989, 1.5081673, 0.0205351], [0, 0, 1.2118128]]
    )
    assert PROPHOTO.from_rec709 == pytest.approx(romm_from_d50 @ d50_from_srgb, abs=5e-4)
    for space in SPACES.values():
        assert space.from_rec709.sum(axis=1) == pytest.approx(np.ones(3), abs=1e-12)


def test_romm_transfer_function():
    # ISO 22028-2: 16 x below 1/512, x^(1/1.8) above; continuous, 0.18 -> 0.3857
    x = torch.tensor([0.0, 0.001, 1 / 512, 0.18, 1.0], dtype=torch.float64)
    assert romm_encode(x).tolist() == pytest.approx([0, 0.016, 1 / 32, 0.38573, 1.0], abs=1e-4)


@pytest.mark.parametrize("name", SPACES)
def test_profiles_say_what_the_mathematics_does(name):
    """Encode Rec. 709 colours in the space; littleCMS with the profile finds them again."""
    space = SPACES[name]
    rng = np.random.default_rng(0)
    linear = rng.uniform(0.02, 1, (64, 3))
    there = space.encode(torch.from_numpy(linear @ space.from_rec709.T)).numpy()
    back = SRGB.encode(torch.from_numpy(linear)).numpy()
    picture = Image.fromarray(np.round(there.reshape(8, 8, 3) * 255).astype(np.uint8))
    profile = ImageCms.ImageCmsProfile(io.BytesIO(space.icc_profile))
    found = ImageCms.profileToProfile(
        picture, profile, ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    error = np.abs(np.asarray(found).reshape(-1, 3) - back * 255)
    assert error.mean() < 1.0
    assert error.max() < 6


@pytest.mark.parametrize("name", SPACES)
def test_profiles_are_well_formed(name):
    profile = SPACES[name].icc_profile
    assert int.from_bytes(profile[:4], "big") == len(profile)
    info: Any = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile  # typed as a file by PIL
    assert info.xcolor_space.strip() == "RGB"
    assert info.profile_description.startswith(SPACES[name].name.split()[0])
    assert np.array(info.red_colorant[0]).sum() + np.array(info.green_colorant[0]).sum() + np.array(
        info.blue_colorant[0]
    ).sum() == pytest.approx(0.9642 + 1 + 0.8249, abs=2e-3)


def test_a_wide_gamut_keeps_colours_that_srgb_must_compress():
    rng = np.random.default_rng(0)
    photo = np.full((3, 64, 64), 0.2, np.float32)
    photo[1] = 0.95  # a green at the edge of sRGB
    raw, _ = simulate(photo, NIKON_D750, Capture(iso=100), rng)
    pictures = {}
    for name, space in SPACES.items():
        pipeline = default_pipeline(space)
        theta = torch.zeros(len(pipeline.parameters))
        theta[[p.name for p in pipeline.parameters].index("saturation")] = 1.0
        encoded = (
            render_raw(raw, theta, pipeline=pipeline, bits=16)[16:48, 16:48].mean((0, 1)) / 65535
        )
        decode = {"srgb": _srgb_decode, "p3": _srgb_decode, "prophoto": lambda v: v**1.8}[name]
        pictures[name] = np.linalg.solve(space.from_rec709, decode(encoded))
    saturation = {n: p.max() - p.min() for n, p in pictures.items()}
    assert saturation["p3"] > 1.03 * saturation["srgb"]
    assert saturation["prophoto"] > saturation["p3"] - 0.01
    luminances = [XYZ_FROM_REC709[1] @ p for p in pictures.values()]
    assert np.ptp(luminances) < 0.02


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize(
    "color",
    [(0.6, 0.7, 1.5), (1.4, 0.3, 0.2), (0.2, 0.3, -0.1)],
    ids=["blue", "red", "no blue"],
)
def test_what_lies_outside_the_gamut_keeps_its_luminance(name, color):
    space = SPACES[name]
    stage = next(s for s in default_pipeline(space).stages if s.name == "output")
    rec709 = np.linalg.solve(space.from_rec709, color)
    planes = tuple(torch.from_numpy(rec709)[:, None])
    encoded = torch.stack(stage.apply(planes, {}, {}))[:, 0].numpy()
    assert encoded.min() == pytest.approx(0, abs=1e-6) or encoded.max() == pytest.approx(1)
    decode = {"srgb": _srgb_decode, "p3": _srgb_decode, "prophoto": _romm_decode}[name]
    found = np.linalg.solve(space.from_rec709, decode(encoded))
    assert XYZ_FROM_REC709[1] @ found == pytest.approx(XYZ_FROM_REC709[1] @ rec709, abs=1e-5)


def test_luminance_of_the_primaries():
    assert SRGB.luminance == REC709_LUMINANCE
    # CSS Color Module Level 4, section 20: Y of the primaries of Display P3
    assert DISPLAY_P3.luminance == pytest.approx((0.22897, 0.69174, 0.07929), abs=1e-4)
    # Lindbloom: ProPhoto -> XYZ (D50), and the row of D50 -> D65 (Bradford) that gives Y
    xyz_from_romm = np.array(
        [[0.7976749, 0.1351917, 0.0313534], [0.2880402, 0.7118741, 0.0000857], [0, 0, 0.8252100]]
    )
    expected = np.array([-0.0282895, 1.0099416, 0.0210077]) @ xyz_from_romm
    assert PROPHOTO.luminance == pytest.approx(expected, abs=1e-4)


def _romm_decode(value: np.ndarray) -> np.ndarray:
    return np.where(value < 1 / 32, value / 16, value**1.8)


def _srgb_decode(value: np.ndarray) -> np.ndarray:
    return np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)
