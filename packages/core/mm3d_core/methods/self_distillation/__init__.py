"""Pre-training by self-distillation: a student agrees with its own slow average about parts of a scan."""
