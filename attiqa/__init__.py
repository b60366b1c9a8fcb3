"""ATTIQA: what makes a photograph good. Images in, attribute and quality scores out."""
