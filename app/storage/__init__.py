"""The adapter to Valkey: key names, codec, the function library, and the in-memory twin. No rules here."""
