"""Scene-linear rows of a frame from the samples of its sensor: `reference` in compiled loops.

The same numbers as `reference.develop_area`, which says what is done and why, but a few rows at a
time and in one pass, for frames of many megapixels. Also the small pictures that the guide of a
rendering and the previews are made of: 2x2 blocks averaged, so that nothing is demosaiced for them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Num, UInt8

from isp_env.compiled import sensor
from isp_env.compiled.sensor import HALO
from isp_env.develop.noise import noise_block, root_offset
from isp_env.dng.gain_maps import packed
from isp_env.dng.opcodes import GainMap
from isp_env.raw import RawImage

TILE = 32  # rows that are demosaiced at a time
WITHOUT_LIMIT = np.float32(np.inf)

Rows = Callable[[int, int, Float32[np.ndarray, "3 r w"]], None]
"""(top, bottom, out): fills `out` with these rows of a scene-linear picture."""


@dataclass(frozen=True)
class MosaicSource:
    """Scene-linear Rec. 709 of a Bayer mosaic's active area, computed when asked for.

    Attributes:
        mosaic: Samples; even sides.
        black: Black level of even and odd rows at each column.
        black_rows: Added to it in each row.
        span: From the highest black level to saturation.
        gains: White balance.
        shading: Gain maps: numbers of each (`gain_maps.packed`), and their tables.
        cfa: 0 red, 1 green, 2 blue.
        matrix: White-balanced camera RGB to linear Rec. 709, baseline exposure included.
        offset: Added under the square root in which the mosaic is interpolated.
    """

    mosaic: Num[np.ndarray, "h w"]
    black: Float32[np.ndarray, "2 w"]
    black_rows: Float32[np.ndarray, " h"]
    span: np.float32
    gains: Float32[np.ndarray, "3"]
    shading: tuple[Float32[np.ndarray, "n 12"], Float32[np.ndarray, "n r s"]]
    cfa: UInt8[np.ndarray, "2 2"]
    matrix: Float32[np.ndarray, "3 3"]
    offset: np.float32

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.mosaic.shape
        return height, width

    def rows(self, top: int, bottom: int, out: Float32[np.ndarray, "3 r w"]) -> None:
        """Fill `out` with the rows from `top` to before `bottom`, however they are tiled."""
        self._demosaic(top, bottom, self.matrix, np.float32(1), out)

    def camera_rows(self, top: int, bottom: int, out: Float32[np.ndarray, "3 r w"]) -> None:
        """Fill it as the camera sees it: not white-balanced, nothing above 1 clipped again."""
        self._demosaic(top, bottom, np.diag(1 / self.gains), WITHOUT_LIMIT, out)

    def _demosaic(
        self,
        top: int,
        bottom: int,
        matrix: Float32[np.ndarray, "3 3"],
        clip: np.float32,
        out: Float32[np.ndarray, "3 r w"],
    ) -> None:
        height, width = self.shape
        places = np.abs(np.arange(top - HALO, bottom + HALO))  # mirrored at the edges
        places = np.where(places < height, places, 2 * (height - 1) - places)
        root = np.empty((len(places), width + 2 * HALO), np.float32)
        self._white_balanced(places, root[:, HALO:-HALO])
        sensor.to_root(root, self.offset)
        sensor.malvar(root, top, self.cfa, matrix, self.offset, clip, out)

    def reduced(
        self, factor: int
    ) -> tuple[Float32[np.ndarray, "3 h2 w2"], Float32[np.ndarray, "3 h2 w2"]]:
        """Return means of R, G, B and variances of Y, R - Y, B - Y over factor x factor blocks.

        The variances are those of 2x2 blocks with their greens averaged. Blocks at the right and at
        the bottom may be smaller.

        Raises:
            ValueError: `factor` is odd.
        """
        _require_even(factor)
        height, width = self.shape
        result = np.empty((6, -(-height // factor), -(-width // factor)), np.float32)
        samples = np.empty((factor, width), np.float32)
        sums = np.empty((6, width // 2))
        for block, first in enumerate(range(0, height, factor)):
            part = samples[: min(factor, height - first)]
            self._white_balanced(np.arange(first, first + len(part)), part)
            sensor.sum_quads(part, self.cfa, self.matrix, sums)
            sensor.block_statistics(sums, factor // 2, len(part) // 2, result[:, block])
        return result[:3], result[3:]

    def means(self, factor: int) -> Float32[np.ndarray, "3 h2 w2"]:
        """Return the means of `reduced` alone, in less than half the time.

        Raises:
            ValueError: `factor` is odd.
        """
        _require_even(factor)
        height, width = self.shape
        result = np.empty((3, -(-height // factor), -(-width // factor)), np.float32)
        blocks = max(1, TILE // factor)  # of rows at a time
        samples = np.empty((blocks * factor, width), np.float32)
        for block in range(0, result.shape[1], blocks):
            first = block * factor
            part = samples[: min(blocks * factor, height - first)]
            self._white_balanced(np.arange(first, first + len(part)), part)
            out = result[:, block : block + blocks]
            sensor.block_means(part, self.cfa, self.matrix, factor, out)
        return result

    def _white_balanced(
        self, places: Num[np.ndarray, " r"], out: Float32[np.ndarray, "r w"]
    ) -> None:
        """Fill rows of the mosaic, 0 = black: clipped at saturation, shading and gains applied."""
        black, ceiling = (self.black, self.black_rows), _ceiling(self.mosaic)
        sensor.normalise(self.mosaic, places, *black, self.span, ceiling, out)
        if len(self.shading[0]):
            sensor.shade(*self.shading, places, len(self.mosaic), out)
        sensor.balance(self.gains[self.cfa], places, out)


@dataclass(frozen=True)
class ArraySource:
    """The same of a linear image, which needs no demosaicing.

    Attributes:
        camera: Samples: red, green and blue as the camera sees them.
        black: Black level of each at each column, twice: of even and of odd rows.
        black_rows: Added to it in each row.
        span: From the highest black level of each to saturation.
        gains: White balance.
        shading: Gain maps of each, as in a `MosaicSource`.
        matrix: White-balanced camera RGB to linear Rec. 709, baseline exposure included.
        block: Side of the blocks that `downsized` takes the variances of (`noise.noise_block`).
    """

    camera: Num[np.ndarray, "3 h w"]
    black: Float32[np.ndarray, "3 2 w"]
    black_rows: Float32[np.ndarray, " h"]
    span: Float32[np.ndarray, "3"]
    gains: Float32[np.ndarray, "3"]
    shading: tuple[tuple[Float32[np.ndarray, "_ 12"], Float32[np.ndarray, "_ _ _"]], ...]
    matrix: Float32[np.ndarray, "3 3"]
    block: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        _, height, width = self.camera.shape
        return height, width

    def rows(self, top: int, bottom: int, out: Float32[np.ndarray, "3 r w"]) -> None:
        """Fill `out` with the rows from `top` to before `bottom`, however they are tiled."""
        self._to_rec709(self._camera(top, bottom), out)

    def camera_rows(self, top: int, bottom: int, out: Float32[np.ndarray, "3 r w"]) -> None:
        """Fill it as the camera sees it: not white-balanced, nothing above 1 clipped again."""
        out[:] = self._camera(top, bottom)

    def reduced(
        self, factor: int
    ) -> tuple[Float32[np.ndarray, "3 h2 w2"], Float32[np.ndarray, "3 h2 w2"]]:
        """Return means of R, G, B and variances of Y, R - Y, B - Y over factor x factor blocks.

        The variances are those of pixels, or of 2x2 blocks. Blocks at the right and at the bottom
        may be smaller.

        Raises:
            ValueError: The variances are those of 2x2 blocks, and `factor` or a side is odd.
        """
        if self.block == 1:
            return block_statistics(self.rows, self.shape, factor)
        height, width = self.shape
        if factor % 2 or height % 2 or width % 2:
            raise ValueError(
                f"{height}x{width} demosaiced pixels by {factor}: expected even numbers"
            )

        def halved(top: int, bottom: int, out: Float32[np.ndarray, "3 r w"]) -> None:
            pixels = self._camera(2 * top, 2 * bottom)
            pairs = pixels[:, ::2] + pixels[:, 1::2]
            self._to_rec709((pairs[..., ::2] + pairs[..., 1::2]) / 4, out)

        return block_statistics(halved, (height // 2, width // 2), factor // 2)

    def means(self, factor: int) -> Float32[np.ndarray, "3 h2 w2"]:
        """Return the means of `reduced`; see there.

        Raises:
            ValueError: As `reduced`.
        """
        return self.reduced(factor)[0]

    def _camera(self, top: int, bottom: int) -> Float32[np.ndarray, "3 r w"]:
        """Return rows of camera RGB, 0 = black, 1 = white, shading applied."""
        height, width = self.shape
        places = np.arange(top, bottom)
        camera = np.empty((3, len(places), width), np.float32)
        ceiling = _ceiling(self.camera)
        for samples, black, span, shading, plane in zip(
            self.camera, self.black, self.span, self.shading, camera, strict=True
        ):
            sensor.normalise(samples, places, black, self.black_rows, span, ceiling, plane)
            if len(shading[0]):
                sensor.shade(*shading, places, height, plane)
        return camera

    def _to_rec709(
        self, camera: Float32[np.ndarray, "3 r w"], out: Float32[np.ndarray, "3 r w"]
    ) -> None:
        """White balance, `reference.recover_highlights` and matrix; `camera` is overwritten."""
        camera *= self.gains[:, None, None]
        clipped = np.minimum(camera, np.float32(1))
        red, green, blue = clipped + (camera - clipped).mean(0)
        for plane, (from_red, from_green, from_blue) in zip(out, self.matrix, strict=True):
            plane[:] = from_red * red + from_green * green + from_blue * blue


SensorSource = MosaicSource | ArraySource


def block_statistics(
    rows: Rows, shape: tuple[int, int], factor: int
) -> tuple[Float32[np.ndarray, "3 h2 w2"], Float32[np.ndarray, "3 h2 w2"]]:
    """Return means of R, G, B and variances of Y, R - Y, B - Y over factor x factor pixels.

    Args:
        rows: Of a scene-linear picture.
        shape: Its height and width. Blocks at the right and at the bottom may be smaller.
        factor: Side of a block.
    """
    height, width = shape
    result = np.empty((6, -(-height // factor), -(-width // factor)), np.float32)
    sums = np.empty((6, width))
    for block, first in enumerate(range(0, height, factor)):
        pixels = np.empty((3, min(factor, height - first), width), np.float32)
        rows(first, first + pixels.shape[1], pixels)
        sensor.sum_pixels(pixels, sums)
        sensor.block_statistics(sums, factor, pixels.shape[1], result[:, block])
    return result[:3], result[3:]


def sensor_source(raw: RawImage) -> SensorSource:
    """Return scene-linear rows of a RAW image, its opcodes left out (`linear_source` applies them).

    Raises:
        ValueError: It has neither a Bayer mosaic nor a linear image.
    """
    gains = (raw.as_shot_neutral.max() / raw.as_shot_neutral).astype(np.float32)
    matrix = (raw.camera_to_rec709 * 2.0**raw.baseline_exposure).astype(np.float32)
    if raw.mosaic is None or raw.cfa is None or raw.cfa.shape != (2, 2):
        return _array_source(raw, gains, matrix)
    height, width = (side - side % 2 for side in raw.mosaic.shape)
    black = np.tile(raw.black, (1, width // 2)).astype(np.float32)
    if raw.black_columns is not None:
        black += raw.black_columns[:width].astype(np.float32)
    rows = np.zeros(height) if raw.black_rows is None else raw.black_rows[:height]
    return MosaicSource(
        mosaic=raw.mosaic[:height, :width],
        black=black,
        black_rows=rows.astype(np.float32),
        span=np.float32(raw.span),
        gains=gains,
        shading=packed(raw.gain_maps),
        cfa=raw.cfa,
        matrix=matrix,
        offset=np.float32(root_offset(raw)),
    )


def _array_source(
    raw: RawImage, gains: Float32[np.ndarray, "3"], matrix: Float32[np.ndarray, "3 3"]
) -> ArraySource:
    if raw.linear is None:
        raise ValueError(f"{raw.path}: neither a Bayer mosaic nor a linear image")
    _, height, width = raw.linear.shape
    black = np.tile(raw.black[:, None, None], (1, 2, width)).astype(np.float32)
    if raw.black_columns is not None:
        black += raw.black_columns.astype(np.float32)
    rows = np.zeros(height) if raw.black_rows is None else raw.black_rows
    return ArraySource(
        camera=raw.linear,
        black=black,
        black_rows=rows.astype(np.float32),
        span=raw.span.astype(np.float32),
        gains=gains,
        shading=tuple(packed(plane_maps(raw, plane)) for plane in range(3)),
        matrix=matrix,
        block=noise_block(raw),
    )


def plane_maps(raw: RawImage, plane: int) -> tuple[GainMap, ...]:
    """Return the gain maps of a linear image that are for its red (0), green (1) or blue (2)."""
    return tuple(m for m in raw.gain_maps if m.plane <= plane < m.plane + m.planes)


def _require_even(factor: int) -> None:
    if factor % 2 or factor < 2:
        raise ValueError(f"a mosaic is reduced by even factors, got {factor}")


def _ceiling(samples: Num[np.ndarray, "..."]) -> np.float32:
    """Return the level at which normalised samples are clipped: whole numbers saturate at white.

    Numbers beyond white in floating point are light that a correction has made brighter.
    """
    return np.float32(1) if np.issubdtype(samples.dtype, np.integer) else WITHOUT_LIMIT
