"""What trainings and measurements run on, and what cards say about it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from attiqa.errors import SettingsError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Machine:
    """Where to train."""

    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """The best there is by default."""
    devices: int | None = None
    """Processes per node, one device each; by default as many as torchrun began, or one."""
    nodes: int | None = None
    """Machines; by default as many as torchrun began on, or one."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true"] = "32-true"
    """Of Fabric; bf16-mixed on a GPU that has it."""

    def __post_init__(self) -> None:
        for name, value in (("devices", self.devices), ("nodes", self.nodes)):
            if value is not None and value < 1:
                raise SettingsError(f"{name}: expected a number of 1 or more; found {value}")

    def launch(self, out: Path | None = None) -> "Fabric":
        """Start the processes; TensorBoard's files go to a folder, if one is given.

        Raises:
            SettingsError: This machine has no such accelerator, or fewer of them.
        """
        from lightning_fabric import Fabric
        from lightning_fabric.loggers.tensorboard import TensorBoardLogger

        loggers = []
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            loggers.append(TensorBoardLogger(out, name="tensorboard"))
        devices, nodes = self.size
        try:
            fabric = Fabric(
                accelerator=self.accelerator,
                devices=devices,
                num_nodes=nodes,
                precision=self.precision,
                loggers=loggers,
            )
        except (RuntimeError, ValueError) as error:  # Fabric's misconfigurations are either
            raise SettingsError(
                f"machine: this machine has no {devices} x {self.accelerator} of precision "
                f"{self.precision}: {error}"
            ) from error
        fabric.launch()
        return fabric

    @property
    def size(self) -> tuple[int, int]:
        """Processes per node, and nodes."""
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        everywhere = int(os.environ.get("WORLD_SIZE", str(here)))
        return self.devices or here, self.nodes or everywhere // here
