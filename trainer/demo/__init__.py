"""The demonstration: train, start a broker, replay, and show what a subscriber receives. An extra; not for a Pi."""
