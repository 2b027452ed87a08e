"""Where work runs, and how it looks.

start.py             processes of this machine, or a cluster
engine.py            hands tasks out, takes results in, and outlives a worker
processes.py         processes of this machine
forked.py            one piece of work in a process that may die
cluster.py           a Dask cluster that somebody started
run.py               jobs of one kind, with progress
progress.py          bars, or lines
hush.py              holds back what C++ code writes
tensorflow_ready.py  TensorFlow, loaded once and quietly
tensorflow_loaded.py the same, by its name alone
no_gc.py             without garbage collection for a moment
"""
