"""IDE: a channel, the drives on its cable, and the bus master that moves their data."""
