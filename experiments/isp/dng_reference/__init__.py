"""An independent reader of DNG files, and random files to compare with."""
