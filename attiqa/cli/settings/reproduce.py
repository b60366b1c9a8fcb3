"""Settings of `attiqa reproduce`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from attiqa.cli.settings.checks import require_between, require_file, require_folder_to_write
from attiqa.reproduction.item_names import Item


@dataclass(frozen=True)
class Settings:
    """Compute tables of the paper, our number beside the paper's; a run that was killed continues.

    Start it as often as you like, on any number of machines that share the folder: no cell is
    computed twice. On a node with eight GPUs: eight times, with --device cuda:0 to cuda:7.
    """

    items: Positional[tuple[Item | Literal["all"], ...]]
    """table1 (prompts), table2 (within a data set), table3 (across), table4 (few labels), table5
    (drift of the features), table6 (probe), table7 (ablations), agiqa, pairs (section 5.1); all."""
    data: Path = Path("data.yaml")
    """YAML file with the folder of each data set: `datasets: {koniq: FOLDER, ...}`."""
    out: Path = Path("runs/reproduce")
    """Folder for cells, predictions, networks and tables."""
    dry_run: bool = False
    """Say what would be computed, what is there, what data are lacking, and how long it takes."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; the best there is by default."""
    precision: str = "32-true"
    """Of Fabric; bf16-mixed on a GPU that has it."""
    cache: Path | None = Path("runs/cache/pixels")
    """Folder where photographs are kept as pixels of the size that they are looked at, so that
    each is decoded once (KonIQ-10k: 5 GB, all data sets of the paper: 150 GB); None decodes them
    each time."""
    threads: int = 4
    """Photographs that are decoded at once."""

    def check(self) -> None:
        """Refuse a file that is not there, and a folder that cannot be written."""
        require_file(self.data, "YAML file of paths")
        require_folder_to_write(self.out)
        require_between("threads", self.threads, 1)
