"""Do synthetic scans look like real ones? Statistics, the bands they must lie in, and how hard they are."""
