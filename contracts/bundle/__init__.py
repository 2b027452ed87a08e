"""What is deployed: one signed file with artifacts, schema, scorecard and golden vectors.

archive.py    the file: written whole, and read only if every byte is accounted for
familiar.py   what was learned from, to tell what is unlike it
filter.py     how a model is listened to over time
keys.py       who signs, and whom this machine trusts
scorecard.py  how good the model was, and what its inputs looked like
"""
