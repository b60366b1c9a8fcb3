"""Evaluation: correlations, splits, probes, responses to distortions."""
