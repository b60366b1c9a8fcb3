"""A RAW image on its way to scene-linear light: what every rendering begins with."""

from dataclasses import dataclass

from jaxtyping import Float32
from numpy import float32, ndarray

from isp_env.develop.compiled_rows import SensorSource, sensor_source
from isp_env.develop.corrections import corrected
from isp_env.develop.linear_image import LinearImage, crop, upright
from isp_env.develop.noise import linear_noise, noise_block
from isp_env.raw import RawImage


@dataclass(frozen=True)
class LinearSource:
    """Scene-linear rows of a RAW image, their noise, and what the camera shows of them.

    Attributes:
        raw: The image, with its opcodes applied.
        samples: Its rows, computed when asked for.
    """

    raw: RawImage
    samples: SensorSource

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the active area."""
        return self.samples.shape

    @property
    def block(self) -> int:
        """Side of the smallest blocks whose means have noise of their own (`noise.noise_block`)."""
        return noise_block(self.raw)

    def rows(self, top: int, bottom: int, out: Float32[ndarray, "3 r w"]) -> None:
        """Fill `out` with the rows from `top` to before `bottom`, however they are tiled."""
        self.samples.rows(top, bottom, out)

    def reduced(
        self, factor: int
    ) -> tuple[Float32[ndarray, "3 h2 w2"], Float32[ndarray, "3 h2 w2"]]:
        """Return means of R, G, B and variances of Y, R - Y, B - Y over factor x factor blocks.

        Raises:
            ValueError: `factor` is odd, of a mosaic.
        """
        return self.samples.reduced(factor)

    def means(self, factor: int) -> Float32[ndarray, "3 h2 w2"]:
        """Return the means of `reduced` alone: of a mosaic in less than half the time.

        Raises:
            ValueError: `factor` is odd, of a mosaic.
        """
        return self.samples.means(factor)

    def noise(self, block: int = 1) -> Float32[ndarray, "3 2"]:
        """Return shot and read terms of scene-linear pixels that average block x block samples.

        Variance of channel c = noise[c, 0] x + noise[c, 1], x = 1 at the sensor's white.
        """
        return linear_noise(self.raw, block).astype(float32)

    def shown(self, rgb: Float32[ndarray, "3 h w"], block: int) -> LinearImage:
        """Crop a picture of the active area, reduced by `block`, and turn it upright."""
        image = crop(rgb, self.raw, block)
        return LinearImage(upright(image, self.raw.orientation), self.noise(block))


def linear_source(raw: RawImage) -> LinearSource:
    """Apply the opcodes of a RAW image and prepare its rows.

    Raises:
        ValueError: It has neither a Bayer mosaic nor a linear image.
        RawFileError: Its opcodes are damaged (`corrected`).
    """
    raw = corrected(raw)
    return LinearSource(raw, sensor_source(raw))
