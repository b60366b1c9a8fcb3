"""Training and evaluation of quality models."""
