"""The farm in notebooks: the live bar of a wait (`bar.py`), and what a cell shows of a farm, a batch and a job."""

from sigmafarm.notebooks.shown import NUM_BATCHES, NUM_PICTURES, batch_html, farm_html, job_html

__all__ = ["NUM_BATCHES", "NUM_PICTURES", "batch_html", "farm_html", "job_html"]
