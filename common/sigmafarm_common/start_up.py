"""A process that starts looks for no garbage: what it imports and loads stays until its end.

Python looks through all objects again and again while their number grows. That took a fifth of a worker's start (5.6 s
of processor time of its imports, 4.6 s without), and once it runs, each whole look holds every thread up.
"""

import gc


def begin_start() -> None:
    """Look for no garbage until `end_start`."""
    gc.disable()


def end_start() -> None:
    """Look for garbage again, but among what is made from now on."""
    gc.freeze()
    gc.enable()
