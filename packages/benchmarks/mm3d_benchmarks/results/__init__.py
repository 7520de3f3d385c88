"""What was measured? From the results of runs to one long CSV a table, and back."""
