"""The audits that run beside the service: what they have seen so far, and what they do next."""
