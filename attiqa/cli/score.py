"""Score photographs: files and folders of any size to a table."""

import os
from pathlib import Path

from attiqa.cli.settings.score import Settings
from attiqa.data.photo_folder import list_photos
from attiqa.errors import ImageFileError


def main(settings: Settings) -> int:
    """Score everything; 1 where a file could not be scored, 130 when interrupted, 0 otherwise.

    Raises:
        AttiqaError: A device is not there, or nothing can be scored or written.
    """
    paths = _files(settings.paths)
    if settings.device != "cpu":
        from attiqa.cli.devices import require_device  # imports PyTorch

        require_device(settings.device)
    # slow to import: not for help, nor to refuse a name
    from attiqa.scoring.run import INTERRUPTED, score_to_table

    status = score_to_table(
        paths,
        settings.out,
        model=settings.model,
        device=settings.device,
        batch=settings.batch_size,
        workers=settings.workers,
        crops=settings.crops,
        intervals=settings.uncertainty,
    )
    if settings.map and status != INTERRUPTED:
        from attiqa.scoring.map_pictures import write_maps  # imports matplotlib
        from attiqa.scoring.scorers import load_scorer

        scorer = load_scorer(settings.model, settings.device)
        count = write_maps(scorer, paths, settings.map)
        print(f"{count} maps in {settings.map}")
    return status


def _files(paths: tuple[Path, ...]) -> list[Path]:
    """List files and the photographs in folders, each once.

    Raises:
        ImageFileError: No such file or folder, or none named.
    """
    if not paths:
        raise ImageFileError("expected at least one file or folder")
    found: dict[Path, None] = {}
    for path in paths:
        if not os.path.exists(path):  # a name that is too long is not there
            raise ImageFileError(f"{path}: no such file or folder")
        found |= dict.fromkeys(list_photos(path) if path.is_dir() else [path])
    return list(found)
