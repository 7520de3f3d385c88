"""Where and when do runs run? The order of runs, launchers, progress and health."""
