"""The top floor: from a store of recorded episodes to signed bundles. Runs on a workstation, offline."""
