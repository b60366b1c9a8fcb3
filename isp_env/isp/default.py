"""The ISP that this package renders with: its stages, in order.

A stage of one's own is a file beside those of `stages` and a line here.
"""

from isp_env.color.output_spaces import SRGB, OutputSpace
from isp_env.isp.pipeline import IspPipeline
from isp_env.isp.stages.color import COLOR
from isp_env.isp.stages.denoise import DENOISE
from isp_env.isp.stages.exposure import EXPOSURE
from isp_env.isp.stages.local_contrast import LOCAL_CONTRAST
from isp_env.isp.stages.output import output
from isp_env.isp.stages.sharpen import SHARPEN
from isp_env.isp.stages.tone import TONE
from isp_env.isp.stages.white_balance import WHITE_BALANCE


def default_pipeline(space: OutputSpace = SRGB) -> IspPipeline:
    """Build the pipeline that renders encoded RGB of `space`."""
    scene_linear = (DENOISE, WHITE_BALANCE, EXPOSURE, TONE)
    return IspPipeline((*scene_linear, COLOR, output(space), LOCAL_CONTRAST, SHARPEN))


DEFAULT_PIPELINE = default_pipeline()
