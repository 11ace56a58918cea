"""Contact sheets: the pictures of a batch on one page, by what was chosen for each."""

from sigmafarm.sheets.sheet import Sheet

__all__ = ["Sheet"]
