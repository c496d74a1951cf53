"""Boards: chips wired to a processor, and the loop that serves it."""
