"""Pictures of scenes: interactive pages, images, and the statistic on its colors. Never in a key."""
