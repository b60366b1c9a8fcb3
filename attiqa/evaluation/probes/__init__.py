"""Small models on frozen features: what the features say already (ATTIQA section 4.5)."""
