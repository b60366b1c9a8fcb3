"""Finished pixels."""

from typing import Literal

import numpy as np
from jaxtyping import UInt8, UInt16

Pixels = UInt8[np.ndarray, "_ _ 3"] | UInt16[np.ndarray, "_ _ 3"]
"""Encoded RGB, interleaved."""

Bits = Literal[8, 16]
"""Of each channel."""
