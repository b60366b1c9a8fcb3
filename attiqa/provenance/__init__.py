"""What a result was computed from: versions, photographs, labels, weights."""
