"""The instruction sets that guests run on."""
