"""How rows are held: scaled, cut into chunks, read from disk, dealt into folds."""
