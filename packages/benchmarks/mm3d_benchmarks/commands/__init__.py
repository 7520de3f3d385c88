"""What can be typed after ``mm3d``. Parsers and actions, one file a command; what they call is imported late."""
