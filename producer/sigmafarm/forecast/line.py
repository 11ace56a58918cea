"""What the keeper dispatches before a job: as dispatch.lua goes about it, reckoned instead of tried.

Of one priority, whoever has paid least goes first: owners, and each owner's batches. So when a batch has been charged
some work since now, every rival has been charged up to the same virtual time, and no more than it has.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sigmafarm_common.store.values import Line, Place, Standing

#: Less than this part of a job's cost is no difference: virtual times are sums of many costs.
SLIGHT = 1e-6


@dataclass(frozen=True)
class Turn:
    """Where a waiting job stands in its model's line."""

    #: From 1, of so many that wait.
    position: int
    num_waiting: int
    #: Whether nothing but what comes can change it: otherwise it is about right.
    is_exact: bool
    #: Steps times megapixels that are dispatched before it, and of what is on its way or with workers.
    work_before: float
    work_in_hand: float


@dataclass
class _Before:
    """What is dispatched before something: jobs, and their work."""

    jobs: float = 0.0
    work: float = 0.0

    def add(self, jobs: float, mean_cost: float) -> None:
        self.jobs += jobs
        self.work += jobs * mean_cost


def turn_of(line: Line, batch_id: str, place: Place) -> Turn | None:
    """Return where a job stands, None where it does not wait in this line: its batch is paused, it waits for a time to
    come, or it is not waiting."""
    num_waiting = sum(each.num_waiting for each in line.standings) + line.num_dispatched
    own = _standing(line, batch_id)
    if place.num_called_before is not None:
        mean = own.mean_cost if own else _mean_cost(line)
        work_in_hand = (place.num_called_before + line.num_running) * mean
        return Turn(place.num_called_before + 1, max(num_waiting, 1), True, 0.0, work_in_hand)
    if place.num_before is None or own is None:
        return None
    before = _before(line, own, place.num_before)
    others = [each for each in line.standings if each is not own and each.priority >= own.priority]
    in_hand = (line.num_dispatched + line.num_running) * own.mean_cost
    position = line.num_dispatched + round(before.jobs) + place.num_before + 1
    work = before.work + place.num_before * own.mean_cost
    return Turn(min(position, num_waiting), num_waiting, not others and line.is_whole, work, in_hand)


def work_before_the_last(line: Line, batch_id: str) -> float:
    """Return the steps times megapixels of others that are dispatched before the last job of a batch; 0 where it does
    not wait in this line."""
    own = _standing(line, batch_id)
    return _before(line, own, max(0, own.num_waiting - 1)).work if own else 0.0


def _standing(line: Line, batch_id: str) -> Standing | None:
    return next((each for each in line.standings if each.batch_id == batch_id), None)


def _mean_cost(line: Line) -> float:
    num = sum(each.num_waiting for each in line.standings)
    return sum(each.num_waiting * each.mean_cost for each in line.standings) / num if num else 0.0


def _before(line: Line, own: Standing, num_own: int) -> _Before:
    """Return what others have dispatched when `num_own` jobs of a batch were, and its next one's turn has come."""
    before = _Before()
    for each in line.standings:
        if each.priority > own.priority:
            before.add(each.num_waiting, each.mean_cost)
    level = [each for each in line.standings if each.priority == own.priority]
    mine = [each for each in level if each.owner == own.owner]
    reached = own.batch_time + num_own * own.mean_cost
    own_work = num_own * own.mean_cost
    for each in mine:
        if each is not own:
            num = _num_until(reached, each.batch_time, each, goes_first=each.batch_id < own.batch_id)
            before.add(num, each.mean_cost)
            own_work += num * each.mean_cost
    reached = own.owner_time + own_work
    for owner, theirs in _by_owner(level).items():
        if owner != own.owner:
            _add_owner(before, theirs, reached, goes_first=owner < own.owner)
    return before


def _add_owner(before: _Before, theirs: Sequence[Standing], reached: float, *, goes_first: bool) -> None:
    """Add what another owner has dispatched when its virtual time has come so far."""
    num = sum(each.num_waiting for each in theirs)
    work = sum(each.num_waiting * each.mean_cost for each in theirs)
    together = theirs[0]._replace(num_waiting=num, mean_cost=work / num if num else 0.0)
    before.add(_num_until(reached, together.owner_time, together, goes_first=goes_first), together.mean_cost)


def _num_until(reached: float, time: float, standing: Standing, *, goes_first: bool) -> int:
    """Return how many jobs have their turn before a rival's at a virtual time; of equal times the first name goes."""
    if standing.mean_cost <= 0:
        return standing.num_waiting if time <= reached else 0
    turns = (reached - time) / standing.mean_cost
    if goes_first:
        num = math.floor(turns + SLIGHT) + 1 if turns >= -SLIGHT else 0
    else:
        num = math.ceil(turns - SLIGHT) if turns > SLIGHT else 0
    return min(num, standing.num_waiting)


def _by_owner(standings: Iterable[Standing]) -> Mapping[str, list[Standing]]:
    found: dict[str, list[Standing]] = {}
    for each in standings:
        found.setdefault(each.owner, []).append(each)
    return found
