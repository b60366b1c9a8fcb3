"""Parts of the quality networks."""
