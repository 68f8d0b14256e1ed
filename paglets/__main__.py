"""`python -m paglets` is the command `paglets`."""

from paglets.cli.main import main

if __name__ == "__main__":
    main()
