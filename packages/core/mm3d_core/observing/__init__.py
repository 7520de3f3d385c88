"""How is a training going, and what does it cost? Its log and its stop-watch; they move no number."""
