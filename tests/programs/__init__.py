"""Start the farm's programs as processes of their own, many of them quickly.

`start` is `subprocess.Popen` for a Python module. Hundreds of processes of the farm are started by the tests, and each
would spend most of its processor time on imports, the same again and again. So they are forked from a process that has
made these imports already (nursery.py) and then run the module as `python -m` does: a process with a pid, memory,
descriptors, signals and an end of its own, and a child of whoever started it. What it was started with still decides
about it alone; a start that imports everything itself is what every other command line gets, and `sigmafarm up`.
"""

from tests.programs.started import Process, Started, run, start

__all__ = ["Process", "Started", "run", "start"]
