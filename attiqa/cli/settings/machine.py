"""What trainings and measurements run on, and what cards say about it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Machine:
    """Where to train."""

    accelerator: str = "auto"
    """cpu, cuda, mps; the best there is by default."""
    devices: int | None = None
    """Processes per node, one device each; by default as many as torchrun began, or one."""
    nodes: int | None = None
    """Machines; by default as many as torchrun began on, or one."""
    precision: str = "32-true"
    """Of Fabric; bf16-mixed on a GPU that has it."""

    def launch(self, out: Path | None = None) -> "Fabric":
        """Start the processes; TensorBoard's files go to a folder, if one is given."""
        from lightning_fabric import Fabric
        from lightning_fabric.loggers.tensorboard import TensorBoardLogger

        loggers = []
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            loggers.append(TensorBoardLogger(out, name="tensorboard"))
        devices, nodes = self.size
        fabric = Fabric(
            accelerator=self.accelerator,
            devices=devices,
            num_nodes=nodes,
            precision=self.precision,  # pyright: ignore[reportArgumentType]  # checked by Fabric
            loggers=loggers,
        )
        fabric.launch()
        return fabric

    @property
    def size(self) -> tuple[int, int]:
        """Processes per node, and nodes."""
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        everywhere = int(os.environ.get("WORLD_SIZE", str(here)))
        return self.devices or here, self.nodes or everywhere // here
