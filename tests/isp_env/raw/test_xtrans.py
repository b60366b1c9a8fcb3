"""X-Trans by strips: what LibRaw makes of a whole file, in less memory."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
import rawpy
import tifffile

from isp_env.errors import RawFileError
from isp_env.raw import read_raw, xtrans
from isp_env.raw import write_dng as dng
from isp_env.raw.xtrans import demosaic_xtrans
from isp_env.scenes.simulation import X_TRANS

CFA = np.array(X_TRANS, np.uint8)


def by_libraw(path, neutral: np.ndarray) -> np.ndarray:
    """A whole file, in LibRaw's own memory, with the white balance undone."""
    gains = 1 / neutral
    with rawpy.imread(str(path)) as libraw:
        rgb = libraw.postprocess(
            demosaic_algorithm=rawpy.DemosaicAlgorithm.AHD,
            user_wb=[*gains, gains[1]],
            output_color=rawpy.ColorSpace.raw,
            highlight_mode=rawpy.HighlightMode.Ignore,
            adjust_maximum_thr=0,
            no_auto_bright=True,
            gamma=(1, 1),
            output_bps=16,
            user_flip=0,
        )
    return np.moveaxis(rgb / (gains / gains.max()), 2, 0).round().clip(0, 65535)


def test_strips_are_what_libraw_makes_of_the_whole(tmp_path, take, camera):
    raw = take(1500, 520, dataclasses.replace(camera, cfa=X_TRANS))  # three strips
    dng.write_dng(raw, tmp_path / "xtrans.dng")
    found = read_raw(tmp_path / "xtrans.dng").linear
    assert found is not None
    inside = (slice(None), slice(1, -1), slice(1, -1))
    off = np.abs(found[inside] - by_libraw(tmp_path / "xtrans.dng", raw.as_shot_neutral)[inside])
    assert (off > 1).mean() < 0.01  # at the seams of LibRaw's tiles
    for seam in (xtrans.STEP + xtrans.HALO, 2 * xtrans.STEP + xtrans.HALO):
        assert (off[:, seam - 4 : seam + 3] > 1).mean() < 0.02
    assert np.array_equal(found, np.pad(found[inside], ((0, 0), (1, 1), (1, 1)), "edge"))


@pytest.mark.parametrize(("top", "left"), [(7, 5), (6, 4), (2, 12)])
def test_the_phase_belongs_to_the_active_area(write_tagged, take, camera, top, left, tmp_path):
    raw = take(512, 520, dataclasses.replace(camera, cfa=X_TRANS))
    assert raw.mosaic is not None
    black = 600 + 10.0 * np.arange(36).reshape(6, 6)
    raw = dataclasses.replace(raw, black=black)
    dng.write_dng(raw, tmp_path / "plain.dng")
    frame = np.pad(raw.mosaic, ((top, 2), (left, 3)))
    area = (50829, "I", 4, (top, left, top + 512, left + 520), True)  # ActiveArea
    framed = read_raw(write_tagged(dataclasses.replace(raw, mosaic=frame), area))
    plain = read_raw(tmp_path / "plain.dng")
    assert framed.active_area == (top, left, top + 512, left + 520)
    np.testing.assert_array_equal(framed.cfa, raw.cfa)
    assert framed.linear is not None
    assert plain.linear is not None
    np.testing.assert_array_equal(framed.linear, plain.linear)


def test_memory_is_that_of_the_result_and_a_strip(monkeypatch):
    """LibRaw's own is not seen here: nothing is left of it between two strips."""
    rng = np.random.default_rng(0)
    mosaic = rng.integers(0, 65536, (12 * xtrans.STEP, 600), np.uint16)
    seen = []

    def grey(strip, cfa, xyz_to_camera):
        seen.append(strip.shape)
        return np.repeat(strip[..., None], 3, axis=2)

    monkeypatch.setattr(xtrans, "_demosaic", grey)
    neutral = np.array([0.5, 1.0, 0.7])
    tracemalloc.start()
    found = demosaic_xtrans(
        mosaic, CFA, np.zeros((6, 6)), (None, None), 65535.0, neutral, np.eye(3)
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert max(seen) == (516, 600)
    strip = 516 * 600 * 2
    assert peak < found.nbytes + 12 * strip  # the mosaic balanced, and three channels of it
    # each sample came back from its own channel, balanced and unbalanced
    color = np.tile(CFA, (2 * xtrans.STEP, 100))
    same = np.take_along_axis(found, color[None], axis=0)[0]
    inside = (slice(1, -1), slice(1, -1))
    assert np.abs(same[inside].astype(int) - mosaic[inside]).max() <= 2


@pytest.mark.parametrize("height", [512, 517, 518, 979, 980, 1000, 1400, 4013])
def test_strips_give_every_row_once_and_are_one_row_of_tiles(height):
    strips = list(xtrans._strips(height))
    assert [first for _, (first, _) in strips] == [0, *(last for _, (_, last) in strips[:-1])]
    assert strips[-1][1][1] == height
    for (above, below), (first, last) in strips:
        assert above % 6 == 0
        assert 512 <= below - above <= 518
        assert above == first == 0 or first - above >= xtrans.HALO
        assert below == last == height or below - last >= xtrans.HALO


def test_one_mosaic_gives_one_picture():
    """LibRaw's threads race where it divides a picture into several rows of tiles."""
    rng = np.random.default_rng(0)
    mosaic = rng.integers(0, 65536, (1020, 600), np.uint16)
    first, *others = (
        demosaic_xtrans(mosaic, CFA, np.zeros((6, 6)), (None, None), 65535.0, np.ones(3), np.eye(3))
        for _ in range(6)
    )
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_a_pattern_without_three_colours_is_refused(write_tagged, take, camera):
    raw = take(512, 520, dataclasses.replace(camera, cfa=X_TRANS))
    path = write_tagged(raw, (33422, "B", 36, (1, 2, 0) * 12, True))  # CFAPattern: stripes
    with pytest.raises(RawFileError, match=r"the mosaic .*, which neither"):
        read_raw(path)


def test_floating_point_samples_have_a_black_level_of_their_own_unit(tmp_path, take, camera):
    raw = take(512, 520, dataclasses.replace(camera, cfa=X_TRANS))
    assert raw.mosaic is not None
    tags = [t for t in dng._tags(raw, raw.mosaic) if t[0] not in (50713, 50714, 50717)]
    tags += [(50714, "2I", 1, (600, 16383), True), (50717, "I", 1, 1, True)]
    tifffile.imwrite(
        tmp_path / "float.dng",
        (raw.mosaic / 16383).astype(np.float32),
        photometric=dng.CFA,
        metadata=None,
        extratags=[t for t in tags if t[0] != dng.EXIF_IFD_PLACE],
    )
    whole = dataclasses.replace(raw, white=16383.0)
    dng.write_dng(whole, tmp_path / "whole.dng")
    found, expected = (read_raw(tmp_path / f"{n}.dng").linear for n in ("float", "whole"))
    assert found is not None
    assert expected is not None
    # where LibRaw's choice of a direction hangs on a digit, pixels differ by more
    assert np.median(np.abs(found.astype(int) - expected)) <= 4
