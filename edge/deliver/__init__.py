"""From an event to the broker, with nothing lost.

outbox.py     events on disk until the broker has them
queued.py     the SQL of it
patience.py   what a disk that fails is given: time, or its right name
publisher.py  events to MQTT, until the broker has spoken of each
drain.py      the thread from the one to the other
probe.py      why a broker cannot be reached, stage by stage
"""
