"""PCI: the host bridge with its configuration ports, and what a function is."""
