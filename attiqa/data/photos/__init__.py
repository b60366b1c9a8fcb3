"""Image files of all kinds to upright sRGB pixels."""
