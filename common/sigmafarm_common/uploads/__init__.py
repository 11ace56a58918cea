"""Pictures that jobs draw from: read and checked at the border, stored once, fitted to a job, removed when unused.

`reading.py` takes files of people and never trusts them (`headers.py` looks before anything is decoded); `storing.py`
keeps them by their content; `sizes.py` and `fitting.py` say what becomes of a picture of another size; `removing.py`
cleans up after the store.
"""
