"""What `pretrain` and `finetune` run on, and what their cards say about it."""

from dataclasses import dataclass
from pathlib import Path

from lightning_fabric import Fabric
from lightning_fabric.loggers.tensorboard import TensorBoardLogger


@dataclass(frozen=True)
class Machine:
    """Where to train; under torchrun, `devices` is its number of processes per node."""

    accelerator: str = "auto"
    """cpu, cuda, mps; the best there is by default."""
    devices: int = 1
    """Processes per node, one device each."""
    nodes: int = 1
    """Machines."""
    precision: str = "32-true"
    """Of Fabric; bf16-mixed on a GPU that has it."""

    def launch(self, out: Path) -> Fabric:
        """Start the processes; TensorBoard's files go to a folder."""
        out.mkdir(parents=True, exist_ok=True)
        fabric = Fabric(
            accelerator=self.accelerator,
            devices=self.devices,
            num_nodes=self.nodes,
            precision=self.precision,  # pyright: ignore[reportArgumentType]  # checked by Fabric
            loggers=TensorBoardLogger(out, name="tensorboard"),
        )
        fabric.launch()
        return fabric
