"""Which bundle runs on this machine.

site.py        one machine: where its bundles are kept, and whom it trusts
deployment.py  what is installed: one small file, replaced as a whole
verbs.py       install, roll back, promote: what a person decides
trial.py       a new bundle's first windows: it is proven, or given up for the last good one
riding.py      a shadow's first windows: it is proven, or dismissed
first_try.py   a first try in a process of its own
follow.py      a running agent takes what was installed meanwhile
"""
