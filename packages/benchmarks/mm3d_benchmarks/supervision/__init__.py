"""Which labels does a fine-tuning see, and what may it move? Data efficiency, points with labels, linear probes."""
