"""The program as a process of its own: `sigmafarm`, or `python -m sigmafarm.cli` where the script is not on the PATH.

Looks for garbage while modules are imported, of which nothing is, and once more at the end, took a quarter of the
processor's time of `sigmafarm status`.
"""

import gc

from sigmafarm.cli import main

#: New objects between two looks for garbage; Python's own number is 700.
NUM_NEW_OBJECTS = 50_000


def run() -> None:
    """Run the program in this process, and end it."""
    gc.set_threshold(NUM_NEW_OBJECTS)
    try:
        main()
    finally:
        gc.freeze()  # a process that ends needs no last look for garbage


if __name__ == "__main__":
    run()
