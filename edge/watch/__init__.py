"""Watching one guest: rows -> ring -> window -> model -> event.

agent.py         the room that knows all the others
subject.py       what is watched
watch.py         how far the watch has come
ring.py          the last minute of rows
health.py        what the agent itself costs
score_events.py  scores as events
"""
