"""Dataset -> splits -> fitted models.

plan.py        what to fit, checked
stage.py       `trainer fit`, and the middle of `trainer build`
job.py         one fit: architecture x threat model x recipe x seed x variant
record.py      fits.json: all jobs of one run
fit_one.py     one job -> its checkpoint
checkpoint.py  a model on disk, stamped with what made it
creeping.py    channels by which the time can be told
tune.py        `--tune`: settings from a search
study.py       one search
worker.py      what a worker does here
"""
