"""Attribute pseudo-labels of unlabelled photographs: made, stored, averaged."""
