"""Scores of folders of photographs, as tables."""
