"""What is chosen about teachers, by name."""

from typing import Literal

Task = Literal["distortion", "human", "sum"]
"""What pairs of prompts are ordered by: task 1, task 2, or both (section 3.2)."""

Place = Literal["best", "median", "worst", "median-informative", "least-informative"]
"""Which pair of an attribute in that order.

The lowest scores, as section 4.5 of the paper has it, belong to pairs that order photographs the
wrong way round (`worst`); the pairs that say least have scores near zero (`least-informative`).
`median` and `median-informative` are the medians of the scores and of their sizes.
"""

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
