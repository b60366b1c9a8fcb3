"""Photographs and their human scores: one module per official layout."""
