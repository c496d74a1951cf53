"""What a computer brings along for an operating system to start: tables, trees, loaders, and calls that it answers."""
