"""The one training loop and what belongs to it: optimizers, schedules, checkpoints, processes, log, cost."""
