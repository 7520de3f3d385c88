"""From one release's raw files to scenes: one reader a data set, with its classes, splits and counts."""
