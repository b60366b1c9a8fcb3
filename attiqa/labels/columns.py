"""Columns of a label store, beside those of the attributes."""

PHOTO_COLUMNS = ("path", "width", "height", "bytes", "sha256")
"""What a store says of each photograph; no attribute may be called so."""
