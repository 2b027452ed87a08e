"""A bundle file to a model that may speak, and which bundle that is on this machine.

active.py      verify, open, prove on the golden vectors
deployment.py  what is installed: one small file, replaced as a whole
verbs.py       install, roll back, promote: what a person decides
trial.py       a new bundle's first windows: it is proven, or given up for the last good one
riding.py      a shadow's first windows: it is proven, or dismissed
apart.py       a first try in a process of its own, and an end for what hangs
follow.py      a running agent takes what was installed meanwhile
"""

from edge.deploy.active import Active, activate, self_test

__all__ = ["Active", "activate", "self_test"]
