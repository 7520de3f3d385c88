"""``mm3d store``: looking into the run store, and cleaning it."""
