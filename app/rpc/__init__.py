"""The gRPC front end: messages to commands, answers to messages, faults to statuses. No rules here."""
