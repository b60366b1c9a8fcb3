"""Scripts that people run; they compose the other packages and own no logic."""
