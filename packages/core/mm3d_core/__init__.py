"""MM-3DScene's ground floor: the vocabulary, the pre-training methods and the one training loop."""
