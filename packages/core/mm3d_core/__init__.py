"""MM-3DScene's ground floor: the vocabulary, the pre-training methods and the one training loop."""

__version__ = "0.1.0"  # of the suite: the only place where it stands
