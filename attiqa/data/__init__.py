"""Photographs: files, pixels, crops, human scores and their splits."""
