"""The DNG format: tags, colour matrices, opcodes, lossless JPEG (DNG specification 1.7)."""
