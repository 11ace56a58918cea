"""Where design.md has the schedule of LMS; it lives in sampling/lms.py."""

from sigmafarm_worker.sampling.lms import Schedule as Schedule
