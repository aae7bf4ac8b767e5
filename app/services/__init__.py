"""The use cases and the ports that adapters implement. No Redis, no Dramatiq, no wire format here."""
