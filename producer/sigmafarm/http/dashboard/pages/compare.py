"""Two pictures compared: side by side, under a slider, their difference; and which settings differ."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from sigmafarm.http.dashboard.html import Html
from sigmafarm.http.dashboard.query import query
from sigmafarm.http.dashboard.views.compare import WAYS, differences
from sigmafarm.http.dashboard.views.job import tile
from sigmafarm.http.dashboard.visit import Visiting
from sigmafarm_common.errors import FieldError, InvalidRequest, NotFound

router = APIRouter(include_in_schema=False)

Way = Annotated[str, Query(alias="as", pattern="^(side|slider|difference)?$")]


@router.get("/compare")
def compare(
    visit: Visiting,
    job: Annotated[list[str] | None, Query(max_length=20)] = None,
    way: Way = "",
    strong: bool = False,
) -> Html:
    jobs = [visit.site.job_of(visit.caller, each) for each in job or ()]
    if len(jobs) != 2:
        raise InvalidRequest([FieldError("job", f"{len(jobs)} pictures are named: two can be compared")])
    for each in jobs:
        if not each.image_key:
            raise NotFound(f"job {each.id} has no picture to compare: it is {each.state}")
    ids = [each.id for each in jobs]
    return visit.page(
        "compare.html",
        pair=[tile(each) for each in jobs],
        way=way or "side",
        ways=[(name, words, query("/compare", {"job": ids, "as": name})) for name, words in WAYS],
        strong=strong,
        stronger=query("/compare", {"job": ids, "as": "difference", "strong": "" if strong else "true"}),
        turned=query("/compare", {"job": ids[::-1], "as": way}),
        is_same=jobs[0].sha256 == jobs[1].sha256,
        differences=differences(*jobs),
    )
