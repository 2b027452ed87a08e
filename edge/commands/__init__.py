"""One file per group of verbs: options, and what they call."""
