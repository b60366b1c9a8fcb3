"""Loops over pixels that numba compiles; array code without annotations, which numba infers."""

import numba

jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz"})
