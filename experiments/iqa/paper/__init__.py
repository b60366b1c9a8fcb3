"""The paper's comparisons, cell by cell."""
