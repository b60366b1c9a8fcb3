"""From a `RawImage` to scene-linear light: rows of it, corrections of the lens, noise."""
