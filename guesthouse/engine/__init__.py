"""Runs any guest whose instructions are defined in typed Python: the plain way and the threaded way."""
