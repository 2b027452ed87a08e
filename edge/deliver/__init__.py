"""From an event to the broker, with nothing lost.

outbox.py     events on disk until the broker has them
  rows.py     what it holds, and within which bounds
  store.py    what is done to its file, in one step each; tables.py: the file
  damage.py   a file in its place that will not do
  patience.py what a disk that fails is given: time, or its right name
drain.py      the thread from the outbox to the broker
  flight.py   what is in the air
  poison.py   what the broker will not have
publisher.py  this agent, as the broker sees it
  place.py    a node's name belongs to one agent at a time
  calls.py    when the broker is called again, and in which version
line.py       one connection
  trouble.py  why there is none, in words
probe.py      the same, stage by stage, for `edge doctor`
retained.py   what a broker keeps of what is gone
"""
