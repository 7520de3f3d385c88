"""Writers of the official raw formats."""
