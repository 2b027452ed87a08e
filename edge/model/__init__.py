"""A model that may speak.

opened.py    verify a bundle, open it, prove it on its golden vectors
detector.py  window + model -> what the window event says
known.py     what a recording knows of a window
models.py    the seam between an agent and its models
shadow.py    a second model that looks at the same windows
timings.py   how long it takes
"""
