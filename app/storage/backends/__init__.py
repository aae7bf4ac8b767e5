"""The backends: the real server, and its in-memory twin."""
