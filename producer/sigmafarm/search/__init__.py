"""Finds jobs by what they are and what became of them: `seed:7 "red fox" state:failed`, in a batch or in many.

`JobFilter` says which jobs are meant, `find_jobs` and `find_jobs_of_farm` look at a bounded number of them, `told` says
in a sentence how many there were.
"""

from sigmafarm.search.job_filter import JobFilter as JobFilter
from sigmafarm.search.looking import Found as Found
from sigmafarm.search.looking import Look as Look
from sigmafarm.search.looking import find_jobs as find_jobs
from sigmafarm.search.looking import find_jobs_of_farm as find_jobs_of_farm
from sigmafarm.search.looking import found_in as found_in
from sigmafarm.search.looking import looks_at_batch as looks_at_batch
from sigmafarm.search.looking import looks_at_farm as looks_at_farm
from sigmafarm.search.looking import sorted_jobs as sorted_jobs
from sigmafarm.search.order import JobOrder as JobOrder
from sigmafarm.search.query import Query as Query
from sigmafarm.search.telling import told as told
