"""Players who know what they own: they play against a running service and compare every answer.

Only the gRPC contract is known here; nothing of how the service keeps its promises.
"""
