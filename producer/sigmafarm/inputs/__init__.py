"""Prompt files: what people bring, row by row."""

from sigmafarm.inputs.formats import InputFormat, format_of_name
from sigmafarm.inputs.lines import lines_of
from sigmafarm.inputs.reading import MAX_LINE_BYTES, STDIN, parse_rows, read_rows
from sigmafarm.inputs.tables import COLUMNS

__all__ = ["COLUMNS", "MAX_LINE_BYTES", "STDIN", "InputFormat", "format_of_name", "lines_of", "parse_rows", "read_rows"]
