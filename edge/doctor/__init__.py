"""`edge doctor`: what is missing, step by step, each with its remedy.

steps.py     one line: what was looked at, what was found, what to do
sources.py   each source of each guest: found? readable? rows arriving? how late?
machine.py   clock, disk, bundle, outbox, and an agent that runs
"""
