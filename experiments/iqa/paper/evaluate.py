r"""A small reproduction of ATTIQA's claims: what is attribute pretraining worth, and when?

Five starting points (random weights, ImageNet, attribute pretraining from ImageNet with five
attributes, with one attribute, with L2 loss instead of ranking) are fine-tuned on all labels, 20 %
and 10 % of them, and probed linearly, on the same splits (Tables 2, 4, 5 and section 4.5):

    python experiments/iqa/paper/evaluate.py --data BIQ2021 \
        --init mobilenetv2_100_imagenet.safetensors

Half of the data set, without its scores, is what is pretrained on; no split ever tests on it. The
teacher is the measured one, an offline stand-in for CLIP, unless `--teacher clip` is given.

Every cell of the table is a file: a run that was stopped goes on where it was, and more splits or
other cells can be added to a finished one. On a CPU, set MALLOC_MMAP_THRESHOLD_=4000000000
MALLOC_TRIM_THRESHOLD_=8000000000. At the scale of the paper, on a GPU:

    python experiments/iqa/paper/evaluate.py --dataset koniq --data KONIQ --teacher clip \
        --pretraining-photos IMAGENET --init RESNET50 --cache-side None --crops 5 --splits 10 \
        --architecture.backbone resnet50 --architecture.head-features 512 \
        --architecture.regressor-features 512 --architecture.mean 0.485 0.456 0.406 \
        --architecture.std 0.229 0.224 0.225 --protocol.short-side 340 --protocol.crop 320 \
        --pretraining.schedule.crops.size 224 --pretraining.schedule.crops.short-side 256 340 \
        --finetuning.schedule.epochs 100 --few-epochs 100 --evaluate-every 5 \
        --finetuning.schedule.crops.size 320 --finetuning.schedule.crops.short-side 340 340
"""

import json
import logging

from rich.console import Console
from rich.logging import RichHandler

from attiqa.evaluation.protocols import provenance
from attiqa.files import write_atomically
from experiments.iqa.paper.cells import (
    TEACHERS,
    Cell,
    Laboratory,
    Settings,
    cell,
    prepare,
    recorded,
)
from experiments.iqa.paper.report import markdown, tabulate, write_figure
from experiments.settings import parsed

console = Console()


def main(settings: Settings) -> None:
    """Fill the cells that are missing, split by split; report after each split."""
    laboratory = prepare(settings)
    wanted = [(init, labels) for init in settings.initialisations for labels in settings.labels]
    cells: list[Cell] = []
    for repeat in range(settings.splits):
        for done, (init, labels) in enumerate(wanted, 1):
            console.rule(f"split {repeat + 1}/{settings.splits}, {done}/{len(wanted)}")
            console.print(f"{init}, {labels}")
            cells.append(cell(laboratory, init, labels, repeat))
        report(laboratory, cells)


def report(laboratory: Laboratory, cells: list[Cell]) -> None:
    """Write the results, their table and their figure; print the table."""
    settings = laboratory.settings
    teacher = TEACHERS[settings.teacher]
    results = {"teacher": teacher, "table": tabulate(cells)}
    results |= provenance([laboratory.photos], recorded(settings))
    results["cells"] = [{k: v for k, v in cell.items() if k != "settings"} for cell in cells]
    title = f"{laboratory.photos.name}, {settings.architecture.backbone}; {teacher}"
    table = markdown(results["table"], title)
    content = {"results.json": json.dumps(results, indent=2) + "\n", "evaluate_reward.md": table}
    for name, text in content.items():
        write_atomically(settings.out / name, text.encode())
    write_figure(settings.out / "evaluate_reward.png", results["table"], title)
    console.print(table, markup=False)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler()])
    main(parsed(Settings))
