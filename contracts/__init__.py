"""The ground floor: nouns and codecs shared by the edge agent and the trainer."""
