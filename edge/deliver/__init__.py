"""From an event to the broker, with nothing lost.

outbox.py     events on disk until the broker has them
queued.py     the SQL of it
patience.py   what a disk that fails is given: time, or its right name
publisher.py  outbox to MQTT
probe.py      why a broker cannot be reached, stage by stage
"""
