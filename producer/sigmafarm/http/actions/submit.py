"""Submit for a caller's owner within the limits of the API: what routes, dashboard and fronts do alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from sigmafarm.batch import FarmBatch
from sigmafarm.http.actions.submission_options import Options
from sigmafarm.http.site import Site
from sigmafarm.items import Item
from sigmafarm.submission import Plan, Quota
from sigmafarm_common.errors import TooLarge
from sigmafarm_common.store import refusals

#: Jobs by which the cost of a submission is judged while it is written.
NUM_JUDGED = 100


def submit(
    site: Site,
    owner: str,
    rows: Iterable[Item],
    options: Options,
    idempotency_key: str | None = None,
    *,
    source: str = "",
    parent: str = "",
) -> FarmBatch:
    """Submit rows for an owner; one that holds the same key is not waited for. `source` is their file's name. Asks the
    store: call it in a thread.

    Raises InvalidInput, TooLarge, UnknownModel, QuotaExceeded, SubmitInProgress, StoreUnavailable.
    """
    config = site.config
    return site.farm.submit(
        _jobs(site, owner, rows, options),
        name=options.name,
        priority=options.priority,
        defaults=options.defaults,
        idempotency_key=idempotency_key or None,
        repeat=options.repeat,
        skip_bad=options.skip_bad,
        keep=options.keep,
        reuse=options.reuse,
        one_generator=options.one_generator,
        owner=owner,
        patience_s=0,
        quota=Quota(config.max_open_jobs, config.max_open_bytes),
        source=source,
        parent=parent,
    )


def plan(site: Site, owner: str, rows: Iterable[Item], options: Options) -> Plan:
    """Return what `submit` would make of the same; nothing is submitted. Raises as that does."""
    return site.farm.plan(
        _jobs(site, owner, rows, options),
        defaults=options.defaults,
        repeat=options.repeat,
        skip_bad=options.skip_bad,
        keep=options.keep,
        one_generator=options.one_generator,
        owner=owner,
    )


def mean_cost(site: Site, owner: str, rows: Iterable[Item], options: Options) -> float:
    """Return the mean cost of the first jobs of a submission, in steps times megapixels, 0 for none. Raises as `plan`
    does for what is wrong with them; nothing is submitted."""
    first = islice(_jobs(site, owner, rows, options), NUM_JUDGED)
    planned = site.farm.plan(first, defaults=options.defaults, owner=owner, num_first=NUM_JUDGED)
    return sum(request.cost for request in planned.first) / max(1, len(planned.first))


def _jobs(site: Site, owner: str, rows: Iterable[Item], options: Options) -> Iterator[Item]:
    """Yield what rows make by alternatives and sweeps, within the limits."""
    matrix = options.matrix(site.config.wildcards)
    if not matrix.is_plain:
        rows = matrix.rows(rows, options.defaults, most=site.config.max_rows // options.repeat)
    return _count(site, owner, rows, options.repeat)


def _count(site: Site, owner: str, rows: Iterable[Item], repeat: int) -> Iterator[Item]:
    """Hand rows on as long as their jobs are within the limits: a submission far above them must not be written first.
    The store decides when it is accepted. Raises TooLarge, QuotaExceeded."""
    max_rows, max_open = site.config.max_rows, site.config.max_open_jobs
    open_jobs = site.store.open_jobs(owner) if max_open else 0
    num = 0
    for row in rows:
        num += repeat
        if num > max_rows:
            raise TooLarge(
                f"the submission makes more than {max_rows} jobs, the most that is taken at once: send it in parts, or "
                "raise SIGMAFARM_MAX_ROWS"
            )
        if max_open and open_jobs + num > max_open:
            raise refusals.too_many_jobs(owner, open_jobs, num, max_open)
        yield row
