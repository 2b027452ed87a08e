"""Usable episodes -> a dataset.

extract.py    a store's episodes, on all workers
one_shard.py  some episodes -> one file
"""
