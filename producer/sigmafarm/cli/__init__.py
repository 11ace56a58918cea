"""The command line: `sigmafarm`. One file a group of commands; `main` is where every error ends.

Exit codes: 0 done, 1 some jobs failed, 2 usage or bad input, 3 farm out of reach, 130 stopped by Ctrl-C. What is asked
for goes to stdout, everything said about it to stderr.
"""


def main() -> None:
    """Run the program and exit with its code."""
    from sigmafarm.cli.app import main as run  # so that `__main__.py` has its say before

    run()
