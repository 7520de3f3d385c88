"""What has been done? Run folders with keys by content: their files, locks and provenance."""
