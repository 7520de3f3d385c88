"""The operations of pointops against named peers: ``python -m speed.pointops``, in a checkout."""
