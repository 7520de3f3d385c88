"""What is one run, which runs does a table need, and what does it reach? Sweep files, configurations, fingerprints."""
