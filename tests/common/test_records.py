"""Records: what they say of themselves, and the address that programs know them by."""

from __future__ import annotations

from sigmafarm_common import job, records, settings
from sigmafarm_common.records import Counts


def test_counts_tell_whether_a_batch_is_done():
    open_counts, done = Counts(queued=1, failed=2), Counts(succeeded=1, failed=2, cancelled=3)

    assert (open_counts.total, open_counts.num_terminal, open_counts.is_done) == (3, 2, False)
    assert (done.total, done.num_terminal, done.is_done) == (6, 6, True)


def test_the_public_names_stay_where_programs_know_them():
    assert job.RenderRequest is settings.RenderRequest
    assert job.Job is records.Job
    assert all(getattr(job, name) is getattr(records, name, getattr(settings, name, None)) for name in job.__all__)
