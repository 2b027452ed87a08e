"""The first floor: the agent that watches a guest. Needs numpy, a TFLite runtime and an MQTT client, nothing more."""
