"""File formats of raw scans (PLY, PCD, MATLAB, pickled tensors, text tables), read with NumPy alone."""
