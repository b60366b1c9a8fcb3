"""Every table of the paper from one file of paths: what `attiqa reproduce` does."""
