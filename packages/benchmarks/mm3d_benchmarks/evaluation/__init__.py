"""How good is a prediction? Metrics, and the passes over a data set that feed them: votes, voxels, detections."""
