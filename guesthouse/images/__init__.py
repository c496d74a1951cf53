"""Guests to be had: the catalogue, and all it takes to fetch, check, unpack and build them."""
