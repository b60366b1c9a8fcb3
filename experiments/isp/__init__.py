"""Measurements of RAW reading and rendering, and the inputs and references that they share."""
