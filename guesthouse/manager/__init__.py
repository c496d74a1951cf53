"""Machines as users know them: what they are made of, their life, and what one may ask of them."""
