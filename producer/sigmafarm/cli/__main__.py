"""`python -m sigmafarm.cli` is `sigmafarm`, for where the script is not on the PATH."""

from sigmafarm.cli import main

if __name__ == "__main__":
    main()
