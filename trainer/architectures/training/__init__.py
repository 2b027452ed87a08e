"""The loop that all nets share, its batches, and its state on disk."""
