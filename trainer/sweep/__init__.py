"""A store -> a verdict on each episode, with reasons.

sweep.py      all episodes of a store, on all workers
examine.py    one episode under the lens
checks.py     what the rows of one source must be like
stored_rows.py a stored file, some thousand rows at a time
reasons.py    everything that can be wrong, and what it costs
finding.py    what is said of one episode
catalogue.py  index.parquet: all findings
ledger.py     findings of a sweep that is not finished
explain.py    one finding, for a person
"""
