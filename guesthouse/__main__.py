"""`python -m guesthouse` is the command `guesthouse`."""

from guesthouse.cli.main import main

if __name__ == "__main__":
    main()
