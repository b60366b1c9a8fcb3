"""Does `read_raw` read a DNG as the independent reference does? Differences, in words."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.ndimage import maximum_filter, minimum_filter

from experiments.isp.dng_reference.reference_dng import Reference, read_reference
from isp_env.dng.opcodes import GainMap
from isp_env.raw import RawImage, read_raw

ROUNDING = 3e-6  # of float32 numbers from 0 to 1, in the unit of white, after a few operations
REACH = 9  # pixels around a bad one whose same-colour values it must not leave


def differences(path: Path) -> list[str]:
    """List the differences between `read_raw` and the reference; none where they agree.

    Raises:
        RawFileError: `read_raw` refuses the file.
        UnknownLayoutError: The reference does.
    """
    return compare(read_raw(path), read_reference(path))


def compare(raw: RawImage, reference: Reference) -> list[str]:
    """Return in which values two readings of a file differ."""
    found = []
    if (area := tuple(raw.active_area)) != reference.area:
        found.append(f"active area {area}, not {reference.area}")
    values, wanted = normalised(raw), reference.linear
    if reference.is_clipped:  # to keep what is below black is recommended elsewhere, and legal
        values, wanted = np.maximum(values, 0), np.maximum(wanted, 0)
    if len(wanted) == 1 and len(values) == 3:
        wanted = np.repeat(wanted, 3, axis=0)  # a monochrome picture is read as three equal planes
    if values.shape != wanted.shape:
        return [*found, f"{values.shape} samples, not {wanted.shape}"]
    step = np.resize(reference.step, len(wanted))[:, None, None]
    allowed = step + ROUNDING
    off = np.abs(values - wanted) > allowed
    off[:, reference.mended] = False
    off &= ~(reference.clipped & (values > wanted))  # light beyond white that is kept
    if off.any():
        worst = np.unravel_index(np.argmax(np.abs(values - wanted) * off), off.shape)
        place = tuple(int(n) for n in worst)
        found.append(
            f"{off.sum()} samples, {off.mean():.1%}, the farthest at {place}: "
            f"{values[place]:.6f}, not {wanted[place]:.6f}"
        )
    found += _mended(values, reference)
    found += _metadata(raw, reference)
    return found


def normalised(raw: RawImage) -> Float[np.ndarray, "planes h w"]:
    """Return the linear reference values of a `RawImage`, its gain maps applied."""
    pixels = raw.mosaic[None] if raw.mosaic is not None else raw.linear
    assert pixels is not None
    _, height, width = pixels.shape
    levels = np.asarray(raw.black, np.float64)
    if raw.mosaic is not None:  # a pattern of levels
        rows, columns = np.arange(height) % levels.shape[0], np.arange(width) % levels.shape[1]
        black = levels[rows[:, None], columns][None]
    else:
        black = np.broadcast_to(levels.reshape(-1, 1, 1), pixels.shape)
    if raw.black_rows is not None:
        black = black + raw.black_rows[:, None].astype(np.float64)
    if raw.black_columns is not None:
        black = black + raw.black_columns.astype(np.float64)
    white = np.asarray(raw.white, np.float64).reshape(-1, 1, 1)
    values = (pixels.astype(np.float64) - black) / (white - black.max((1, 2), keepdims=True))
    values = np.minimum(values, 1)
    for gain_map in raw.gain_maps:
        _multiply(values, gain_map)
    return values


def _multiply(values: Float[np.ndarray, "planes h w"], gain_map: GainMap) -> None:
    """Apply a gain map in place, by the centres of the pixels."""
    m, (_, height, width) = gain_map, values.shape
    rows = np.arange(max(m.top, 0), min(m.bottom, height), m.row_pitch)
    columns = np.arange(max(m.left, 0), min(m.right, width), m.col_pitch)
    v = ((rows + 0.5) / height - m.origin_v) / m.spacing_v
    h = ((columns + 0.5) / width - m.origin_h) / m.spacing_h
    across = np.array([np.interp(h, np.arange(m.map.shape[1]), line) for line in m.map])
    gains = np.array([np.interp(v, np.arange(m.map.shape[0]), line) for line in across.T]).T
    values[m.plane : m.plane + m.planes, rows[:, None], columns] *= gains


def _mended(values: Float[np.ndarray, "planes h w"], reference: Reference) -> list[str]:
    """Tell whether an interpolated pixel is outside the range of its good neighbours."""
    bad = reference.mended
    if not bad.any():
        return []
    good_low = np.where(bad, np.inf, values[0])
    good_high = np.where(bad, -np.inf, values[0])
    footprint = np.zeros((REACH, REACH), bool)
    footprint[::2, ::2] = True  # the same colour of a Bayer pattern, and both of the greens
    footprint[1::2, 1::2] = reference.cfa is not None
    low = minimum_filter(good_low, footprint=footprint, mode="constant", cval=np.inf)
    high = maximum_filter(good_high, footprint=footprint, mode="constant", cval=-np.inf)
    # pixels are mended before black is subtracted, whose pattern may differ between the neighbours
    slack = 0.02 + float(np.ptp(reference.black) / (reference.white[0] - reference.black.max()))
    outside = bad & ((values[0] < low - slack) | (values[0] > high + slack))
    places = np.argwhere(outside).tolist()
    return [f"mended pixels outside the range of their neighbours: {places}"] if places else []


def _metadata(raw: RawImage, reference: Reference) -> list[str]:
    found = []
    cfa = None if raw.cfa is None else np.asarray(raw.cfa).tolist()
    wanted = None if reference.cfa is None else reference.cfa.tolist()
    if cfa != wanted:
        found.append(f"CFA {cfa}, not {wanted}")
    if raw.orientation != reference.orientation:
        found.append(f"orientation {raw.orientation}, not {reference.orientation}")
    if not np.isclose(raw.baseline_exposure, reference.baseline_exposure, atol=1e-6):
        told = f"{raw.baseline_exposure}, not {reference.baseline_exposure}"
        found.append(f"baseline exposure {told}")
    neutral = reference.neutral
    if neutral is not None and not np.allclose(raw.as_shot_neutral, neutral, atol=2e-5):
        found.append(f"neutral {raw.as_shot_neutral.tolist()}, not {neutral.tolist()}")
    crop = _cropped(raw, reference)
    # fractions may be rounded: of the origin, of the size, and of the user's part of it
    allowed = np.array((0.5, 0.5, 1, 1)) + 0.5 * reference.has_user_crop + 1e-3
    if np.any(np.abs(np.subtract(raw.crop, crop)) > allowed):
        found.append(f"crop {raw.crop}, not {crop}")
    return found


def _cropped(raw: RawImage, reference: Reference) -> tuple[float, ...]:
    """Return the crop to expect: of a mosaic, the last odd row or column is no part of it."""
    height, width = reference.linear.shape[1:]
    if raw.mosaic is not None:
        height, width = height - height % 2, width - width % 2
    top, left, bottom, right = reference.crop
    return top, left, min(bottom, height), min(right, width)
