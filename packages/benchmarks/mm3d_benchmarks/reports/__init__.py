"""Tables, figures, statistics and the page: from collected inputs and the run store, without torch."""
