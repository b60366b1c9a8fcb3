"""Training: ranking by attributes (ATTIQA Eq. 3), fine-tuning to opinion (Eq. 4)."""
