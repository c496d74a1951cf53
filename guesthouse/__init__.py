"""guesthouse: whole computers and single programs as guests, in Python."""
