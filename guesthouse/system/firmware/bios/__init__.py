"""The PC's BIOS: a ROM of small stubs, and the services behind them in Python."""
