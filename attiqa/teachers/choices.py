"""What is chosen about teachers, by name."""

from typing import Literal

Task = Literal["distortion", "human", "sum"]
"""What pairs of prompts are ordered by: task 1, task 2, or both (section 3.2)."""

Place = Literal["best", "median", "worst"]
"""Which pair of an attribute in that order."""

View = Literal["center", "native5", "whole"]
"""How a photograph is shown to CLIP.

- `center`: short side resized to the side, square in the centre: the paper's and CLIP's own. Noise
  and fine detail of large photographs are lost.
- `native5`: five squares at the native scale, corners and centre; their labels are averaged.
- `whole`: all of the photograph, short side resized to the side, long side to the nearest multiple
  of the patch, or of the stride of a convolutional tower.

All resizing is bicubic with antialiasing. A photograph with a short side smaller than the side is
enlarged to it, in every view.
"""
