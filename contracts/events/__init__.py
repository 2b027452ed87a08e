"""What the agent says: six kinds of event.

payloads.py   what each carries
envelope.py   how it travels: CloudEvents 1.0 in structured JSON, and MQTT topics
documents.py  docs/events: a JSON Schema for each, and an AsyncAPI document
"""
