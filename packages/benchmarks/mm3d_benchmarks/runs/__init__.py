"""What does a run do? Pre-training, fine-tuning, evaluation and their parts; all of it is in the keys of runs."""
