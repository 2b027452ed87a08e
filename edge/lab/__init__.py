"""The lab: real guests that do benign work by a plan, recorded and labelled.

recipe.py      what a recipe (TOML) can say
walk.py        phases as a random walk
works.py       pieces of work, laid on an episode's time
behaviours.py  what an infected guest does in each phase: six profiles
everyday.py    what any guest does: background and bursts
plan.py        recipe + seed → episodes, each to the millisecond
images.py      kernel and initrd by architecture
machine.py     QEMU's command line
place.py       what lies around a guest: tap, routes, sink, exporter, disk
sink.py        the other end of the guest's connections
quota.py       a share of the CPU, by cgroup
worker.py      orders to the guest
episode.py     one episode, in namespaces of its own
run.py         several at once, until the plan is done
"""
