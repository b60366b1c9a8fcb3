"""Scenes to train and to compare on: simulated shots without end."""
