"""Watching one guest: rows -> ring -> window -> model -> event.

agent.py         the room that knows all the others
subject.py       what is watched
watch.py         how far the watch has come
ring.py          the last minute of rows
health.py        what the agent itself costs
evidence.py      which recording keeps an alarm's rows
score_events.py  scores as events
drift.py         how far what is seen is from what was learned from
"""
