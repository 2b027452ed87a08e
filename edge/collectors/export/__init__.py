"""Flow export datagrams -> flow rows in wall-clock time.

decode.py     a datagram of NetFlow v5 or v9, or of IPFIX
exporters.py  what is known of each exporter, and what is counted
fields.py     one record's bytes by its template's fields, and what they mean
templates.py  what an exporter said of its records, bounded
uptime.py     an exporter's uptime -> Unix time
"""
