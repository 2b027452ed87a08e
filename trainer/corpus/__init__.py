"""Store -> dataset: episodes on disk become windows in a memory-mapped Arrow file."""
