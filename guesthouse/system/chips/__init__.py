"""Chips: one file each, ordinary Python, wired by a board; `kit.py` says what a chip is."""
