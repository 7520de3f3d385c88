"""The same data sets as other projects distribute them, already processed."""
