"""What became of a batch, in one piece: for people, for programs, and as a page to hand on."""

from sigmafarm.reports.report import Failure, Report, Spread, make_report

__all__ = ["Failure", "Report", "Spread", "make_report"]
