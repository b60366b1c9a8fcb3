"""The stages of the ISP, a file each: knobs, mathematics, and what is measured around a pixel."""
