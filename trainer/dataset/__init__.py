"""Windows on disk.

open.py         whatever kind of dataset lies at a path
dataset.py      windows as arrays, whole or in batches
shard.py        the seam between a dataset and its files
folder.py       our own: a folder of shards and dataset.json
arrow.py        ... and one shard of it
npz.py          those of earlier tools
lazy.py         for sets larger than memory
samples.py      windows in memory
side.py         one side of a split, as an architecture sees it
from_arrays.py  arrays of anyone's become a dataset
partition.py    which episodes share a file
describe.py     what is in a dataset
"""
