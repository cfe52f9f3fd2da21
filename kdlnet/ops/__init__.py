"""Pure functions on tensors: boxes, points, decoding, non-maximum suppression, kernel algebra."""
