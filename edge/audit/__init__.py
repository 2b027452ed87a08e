"""`edge audit`: the proof that nothing is missing, which any subscriber can run.

ranges.py    sets of whole numbers, as runs
streams.py   what came of each source, and what did not
ear.py       the subscriber
"""
