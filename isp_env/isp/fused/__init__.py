"""The same ISP compiled: torch operations traced and written as loops for numba."""
