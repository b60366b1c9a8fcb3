"""Colour spaces, colour differences and ICC profiles."""
