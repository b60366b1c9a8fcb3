"""One full-size photograph: rendered by rows, encoded with profile and EXIF."""
