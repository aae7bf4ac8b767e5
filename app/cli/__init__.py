"""The command line: starts, drives and checks the service. Rules and storage live elsewhere."""
