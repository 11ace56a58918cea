"""The comparison with other queues: what it counts, that all are pinned, and this farm's own run of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from tests.bench.queues import ours, table
from tests.bench.queues.apps import work
from tests.bench.queues.contenders import CONTENDERS
from tests.bench.queues.faults import TIMES, Fault, Kind, drawn
from tests.bench.queues.ledger import LATE_S, Ledger
from tests.bench.queues.stage import NUM_WORKERS, Stage

ROOT = Path(__file__).parents[1]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger(tmp_path)) as made:
        yield made


def test_what_is_lost_doubled_late_and_in_vain_is_counted(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    client = redis.Redis.from_url(ledger.server.url, decode_responses=True)
    monkeypatch.setattr(work, "_ledger", client)
    for number in (0, 1, 2, 2):  # 2 is done twice, 1 is begun twice and done once, 3 is begun and lost, 4 never begun
        work.note_begun(number)
        work.note_done(number)
    work.note_begun(1)
    work.note_begun(3)
    begun_s = float(client.hget(work.BEGUN_AT, "0") or 0)
    client.hset(work.DONE_AT, "0", str(begun_s + LATE_S + 1))

    outcome = ledger.outcome(5, begun_s)

    assert (outcome.num_lost, outcome.num_doubled, outcome.num_late, outcome.num_wasted) == (2, 1, 1, 3)
    assert outcome.seconds is None, "some are never done"
    assert outcome.longest_gap_s == pytest.approx(LATE_S + 1, abs=1)


def test_all_contenders_are_pinned():
    assert [p for each in CONTENDERS for p in each.packages if "==" not in p] == []


def test_a_seed_gives_every_fault_in_an_order_of_its_own():
    first, second = drawn(1, NUM_WORKERS), drawn(2, NUM_WORKERS)

    assert first == drawn(1, NUM_WORKERS)
    assert (
        sorted(f.kind for f in first)
        == sorted(f.kind for f in second)
        == sorted(k for k, n in TIMES.items() for _ in range(n))
    )
    assert [f.kind for f in first] != [f.kind for f in second]


@pytest.mark.slow
def test_this_farm_loses_nothing_when_a_worker_and_the_broker_are_killed(tmp_path: Path):
    faults = [Fault(0.5, Kind.KILL_WORKER, 0), Fault(0.2, Kind.KILL_BROKER, 0)]
    with closing(Stage(tmp_path)) as stage:
        outcome = ours.run(tmp_path, stage, faults, 24)

    assert (outcome.num_lost, outcome.num_doubled) == (0, 0)
    assert outcome.num_wasted > 0, "the fault met nobody"


@pytest.mark.parametrize("page", ["README.md", "tests/simulation/README.md"])
def test_readmes_show_the_comparison_that_is_kept(page: str):
    assert table.table(table.read(table.RESULTS)) in (ROOT / page).read_text(), table.BEGIN
