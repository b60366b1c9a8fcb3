"""How photographs reach a teacher, and labels the disk."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Loading:
    """Speed, not results: how photographs reach the teacher and the disk."""

    batch_size: int = 64
    """Photographs per call of the teacher."""
    workers: int = 4
    """Processes that decode, per process that labels; 0 decodes between the batches."""
    shard_rows: int = 8192
    """Rows of a Parquet file."""
