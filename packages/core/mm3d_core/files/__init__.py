"""Files that survive a kill, say when they are damaged, and run nothing that they contain."""
