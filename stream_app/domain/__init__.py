"""The rules of segmentation: pure functions and values on numpy arrays, without input, output or clock."""
