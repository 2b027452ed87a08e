"""What a live watch sees, kept in the store's format.

frames.py     rows of a few seconds as whole zstd frames
part.py       an episode that is being written; whole_again() after a power cut
bounded.py    a store's own recordings, the oldest of which go
tee.py        the whole watch, in parts
evidence.py   the minutes around an alarm
writer.py     the thread that writes, so that no window waits for a disk
keeper.py     one guest's recordings, as the live feed sees them
"""
