"""Stand-in."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from isp_env.color import srgb_encode


@dataclass(frozen=True)
class OutputSpace:
    """Stand-in."""

    name: str
    from_rec709: np.ndarray
    icc_profile: bytes
    encode: Callable[[Tensor], Tensor]


SRGB = OutputSpace("srgb", np.eye(3), b"", srgb_encode)
