"""Teachers of attributes: CLIP with antonym prompts (ATTIQA section 3.2), and measurements."""
