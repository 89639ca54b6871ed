"""The HTTP API and its server: what other programs on this machine ask catalogd."""
