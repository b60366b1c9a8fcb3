"""Distortions of known order: ladders of one attribute, pairs for training."""
