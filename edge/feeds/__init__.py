"""Where rows come from, and where jumps of the clock are met."""
