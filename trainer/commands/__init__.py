"""One file per verb of the command line; each has `add(commands)`. Heavy libraries are imported when a verb runs."""
