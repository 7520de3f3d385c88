"""What a scanner sees of a room: hand-held, on a tripod, or from one depth frame."""
