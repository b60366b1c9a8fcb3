"""Finished models, ours and those of others, measured as they are and beside one another."""
