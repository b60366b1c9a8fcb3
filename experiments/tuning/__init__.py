"""Training and evaluation of what tunes the ISP."""
