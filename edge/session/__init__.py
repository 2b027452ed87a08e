"""One run of the agent: everything opened in order, and closed in the reverse.

replayed.py   edge replay
running.py    edge run: the loop, its signals, and what a new configuration changes
guests.py     the guests that are watched now
delivery.py   outbox and publisher, together
memory.py     what is free goes back to the system
status.py     what systemd and `edge status` are told
"""
