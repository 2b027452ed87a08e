"""The dashboard: a subscriber that keeps what it hears, and pages that show it.

packing.py   one window in forty bytes
rows.py      what the history holds
history.py   what was received, in one SQLite file
board.py     how every guest stands now
intake.py    the thread from the broker to both
drawing.py   timelines and sparklines, as SVG
scenes.py    what each page shows, as plain data
access.py    who may look
site.py      what the pages are made of
guard.py     before any page: by which name we are called, and by whom
server.py    the pages, and the stream that says when they are old
alerts.py    a webhook
"""
