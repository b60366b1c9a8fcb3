"""Who turns the knobs: policies, their training and their weights."""
