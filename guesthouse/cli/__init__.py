"""The command line: `guesthouse` and its commands. Results go to stdout, progress and trouble to stderr."""
