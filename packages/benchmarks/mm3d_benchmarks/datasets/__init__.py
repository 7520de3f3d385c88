"""What is a prepared scene? Readers of raw releases, checks, and the folder of scenes that everything else reads."""
