"""What every program of ours shares at its edge with the system.

cli.py      a parser whose errors are one line, and exit statuses
streams.py  standard streams that end no command
paths.py    where things live when nobody says otherwise
broker.py   where the broker is, and what it takes to get in
"""
