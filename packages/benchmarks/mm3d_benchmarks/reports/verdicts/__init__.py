"""What do the numbers allow one to say? Intervals, comparisons with a verdict, and the smallest difference told."""
