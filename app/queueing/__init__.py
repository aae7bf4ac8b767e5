"""The adapter to Dramatiq: the streams broker, ownership of partitions, the envelope, the command bus."""
