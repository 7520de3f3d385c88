"""What does the page show, and how? One file that opens from disk."""
