"""From sensor data to a photograph, and the tuning task on top of it.

Importing it registers the task: `gymnasium.make("isp_env/IspTuning-v0")`; from anywhere,
`gymnasium.make("isp_env:isp_env/IspTuning-v0")` imports it.
"""

import gymnasium
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

if "isp_env/IspTuning-v0" not in gymnasium.registry:
    gymnasium.register(
        id="isp_env/IspTuning-v0",
        entry_point="isp_env.task.environment:IspTuningEnv",
        vector_entry_point="isp_env.task.environment:IspTuningVectorEnv",
    )
