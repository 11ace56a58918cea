"""What pages show of records: bars, moods, tiles, spans of time, charts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sigmafarm.forecast import Eta, Forecast, Rate
from sigmafarm.http.dashboard.views.bars import BAR_UNITS, LEAST_UNITS, bar
from sigmafarm.http.dashboard.views.batch import batch_view, failure_groups
from sigmafarm.http.dashboard.views.job import ranges, spans_of, tile, tries_of, under_way
from sigmafarm.http.dashboard.views.overview import CHART_S, chart, figures, queue_views
from sigmafarm.http.dashboard.views.settings import figures_of, inputs, named, texts_of
from sigmafarm.http.dashboard.views.worker import worker_view
from sigmafarm_common.records import Attempt, Batch, Counts, Job, ModelCard, WorkerInfo
from sigmafarm_common.residents import SeenModel
from sigmafarm_common.settings import SETTING_FIELDS, RenderRequest
from sigmafarm_common.states import JobState
from sigmafarm_common.store.values import PACE_S, Fence, Moment, Preview, QueueInfo

NOW_MS = 1_800_000_000_000
#: A farm of which nothing is known.
UNKNOWN = Forecast(None)


def a_batch(**said: Any) -> Batch:
    return Batch(
        **{
            "id": "b1",
            "name": "",
            "owner": "ann",
            "priority": 0,
            "is_paused": False,
            "counts": Counts(queued=1),
            "created_ms": NOW_MS - 60_000,
            **said,
        }
    )


def a_job(**said: Any) -> Job:
    known = {
        "id": "b1-000003",
        "batch_id": "b1",
        "row": 3,
        "state": JobState.RUNNING,
        "owner": "ann",
        "model": "tiny",
        "priority": 0,
    }
    drawn = {
        "request": RenderRequest(prompt="a boat", seed=4, karras_sigmas=True),
        "step": 5,
        "num_steps": 20,
        "fence": 2,
    }
    return Job(**{**known, **drawn, "attempts": 0, "losses": 0, **said})


def test_a_bar_is_whole_and_shows_a_single_job_among_many() -> None:
    shown = bar(Counts(succeeded=9_998, failed=1, queued=1))

    assert [part.state for part in shown.parts] == ["succeeded", "failed", "queued"]
    assert sum(part.length for part in shown.parts) == BAR_UNITS
    assert all(part.length >= LEAST_UNITS for part in shown.parts)
    assert [part.begin for part in shown.parts[1:]] == [
        shown.parts[0].length,
        shown.parts[0].length + shown.parts[1].length,
    ]
    assert shown.words == "9998 succeeded, 1 failed, 1 queued"
    assert bar(Counts()).words == "no jobs"


@pytest.mark.parametrize(
    ("said", "mood"),
    [
        ({"counts": Counts(queued=1)}, "waiting"),
        ({"counts": Counts(queued=1, running=1)}, "drawing"),
        ({"counts": Counts(queued=1), "is_paused": True}, "paused"),
        ({"counts": Counts(succeeded=1), "is_paused": True}, "done"),
        ({"counts": Counts(succeeded=1, failed=1)}, "failures"),
        ({"counts": Counts(cancelled=2)}, "cancelled"),
    ],
)
def test_a_batch_has_a_mood(said: dict[str, Any], mood: str) -> None:
    assert batch_view(a_batch(**said), None, NOW_MS).mood == mood


def test_a_batch_says_how_long_it_takes_or_took() -> None:
    eta = Eta(170, 130, 220)

    assert batch_view(a_batch(open_cost=480.0), eta, NOW_MS).eta == "about 2 to 4 min left"
    assert batch_view(a_batch(open_cost=480.0), Eta(170, 130, None), NOW_MS).eta == "more than 2 min left"
    assert batch_view(a_batch(open_cost=480.0), None, NOW_MS).eta == ""
    assert batch_view(a_batch(counts=Counts(succeeded=1), finished_ms=NOW_MS), None, NOW_MS).eta == "took 1 min"
    assert batch_view(a_batch(), None, NOW_MS).title == "b1"


def test_failures_come_most_first_with_what_one_of_them_said() -> None:
    job = a_job(state=JobState.FAILED, error_code="diverged", error="too stiff")

    groups = failure_groups({"lost": 1, "diverged": 5, "gone": 0}, [job])

    assert [(group.title, group.num, group.example) for group in groups] == [
        ("Diverged", 5, "too stiff"),
        ("Lost", 1, ""),
    ]


def test_a_tile_takes_its_preview_s_step_if_it_is_of_this_try() -> None:
    shown = tile(a_job(), Preview("b1-000003", Fence(2, "0a"), 9, b"webp"))
    old = tile(a_job(), Preview("b1-000003", Fence(1, "0a"), 9, b"webp"))

    assert (shown.step, shown.percent, shown.preview) == (9, 45, "data:image/webp;base64,d2VicA==")
    assert (old.step, old.preview) == (5, "")


def test_jobs_that_a_worker_only_holds_are_not_being_drawn() -> None:
    begun, held = tile(a_job()), tile(a_job(step=0))

    assert under_way([begun, held]) == [begun]
    assert under_way([held]) == [held]


def test_a_job_s_time_is_split_and_its_tries_are_told() -> None:
    attempt = Attempt(fence=1, worker="w", outcome="lost", error="", started_ms=NOW_MS - 9000, ended_ms=NOW_MS - 4000)
    job = a_job(submitted_ms=NOW_MS - 10_000, started_ms=NOW_MS - 2500, upload_ms=500, history=(attempt,))

    spans = spans_of(job, NOW_MS)

    assert [(span.name, span.words, span.begin) for span in spans] == [
        ("Waited", "7.5 s", 0),
        ("Drawn", "2 s", 750),
        ("Stored", "0.5 s", 950),
    ]
    assert [(each.number, each.title, each.took) for each in tries_of(job)] == [(1, "Worker lost", "5 s")]
    assert ("Karras sigmas", "yes") in figures_of(job)


def test_rows_near_each_other_are_read_at_once() -> None:
    assert ranges([5, 1, 2, 300, 5]) == [(1, 5), (300, 300)]
    assert ranges([]) == []


def test_the_chart_ends_with_the_last_whole_entry_and_is_zero_where_nothing_was_drawn() -> None:
    moments = [Moment(NOW_MS - 20_000, 0, 3, 400), Moment(NOW_MS - 10_000, 6, 0, 340), Moment(NOW_MS, 50, 50, 9)]

    made = chart(moments, NOW_MS + 4000)

    shown = json.loads(made.data)
    assert {len(shown[name]) for name in ("x", "y", "failed", "waiting")} == {CHART_S // PACE_S}
    assert shown["x"][-1] == NOW_MS // 1000 - PACE_S
    assert shown["y"][-2:] == [0, 12], "six in half a minute"
    assert shown["failed"][-3:] == [0, 6, 6]
    assert shown["waiting"][-3:] == [None, 400, 340]
    assert "at most 12.0; jobs failed a minute: at most 6.00; jobs waiting: at most 400" in made.words
    newest = made.rows[0]
    assert (len(made.rows), newest.num_pictures, newest.num_failed, newest.num_waiting) == (6, 6, 3, 340)
    assert made.rows[1].num_waiting is None


def test_the_overview_says_when_nobody_draws() -> None:
    queue = QueueInfo("tiny", {0: 3, 10: 1, 5: 0}, 1, 2, open_cost=30.0, oldest_ms=NOW_MS - 60_000)

    said = {figure.name: figure for figure in figures([queue], [], [], NOW_MS, UNKNOWN)}

    assert (said["Work left"].value, said["Work left"].remark) == ("∞", "no worker takes jobs")
    assert said["Waiting"].value == "5"
    (shown,) = queue_views([queue, QueueInfo("idle", {}, 0, 0)], UNKNOWN, [], NOW_MS)
    assert "no worker takes jobs for tiny: none lives" in shown.why
    assert [(row.priority, row.num, row.share) for row in shown.rows] == [(10, 1, 33), (0, 3, 100)]


def test_workers_that_take_no_jobs_are_not_counted() -> None:
    about = {"models": ("tiny",), "host": "h", "pid": 1, "device": "cpu", "slots": 4, "lookahead": 2}
    good, drained = WorkerInfo(id="a", **about), WorkerInfo(id="b", is_draining=True, **about)
    queue = QueueInfo("tiny", {0: 3}, 0, 0, open_cost=30.0)

    def said(*workers: WorkerInfo) -> tuple[str, str, str]:
        found = {
            figure.name: figure
            for figure in figures([queue], workers, [], NOW_MS, Forecast.of([], [], workers, NOW_MS))
        }
        return found["Workers"].value, found["Workers"].remark, found["Work left"].value

    assert said(good)[2] == "30", "a guess: steps times megapixels at one a second"
    assert said(good)[:2] == ("1", "0 of 4 slots filled")
    assert said(good, drained)[:2] == ("1", "take jobs; 1 more does not")
    assert said(drained) == ("0", "1 lives and takes none", "∞")
    assert [each.why for each in queue_views([queue], UNKNOWN, [good, drained], NOW_MS)] == [""]


def test_a_range_of_seconds_to_minutes_is_not_torn_apart() -> None:
    worker = WorkerInfo(id="a", models=("tiny",), host="h", pid=1, device="cpu", slots=4, lookahead=2)
    queue = QueueInfo("tiny", {0: 300}, 0, 0, open_cost=300.0)

    def said(per_s: float) -> tuple[str, str]:
        forecast = Forecast(Rate(per_s, num_blocks=1), models=frozenset({"tiny"}), num_slots=4)
        found = {figure.name: figure for figure in figures([queue], [worker], [], NOW_MS, forecast)}
        return found["Work left"].value, found["Work left"].unit

    assert said(2.5) == ("70 s to 5 min", "")
    assert said(0.5) == ("6 to 25", "min")


def test_a_batch_that_waits_for_a_reason_has_no_time_left() -> None:
    shown = batch_view(a_batch(open_cost=480.0), Eta(170, 130, 220), NOW_MS, "no worker takes jobs")

    assert (shown.eta, shown.why) == ("no worker takes its jobs", "no worker takes jobs")


def test_a_worker_s_slots_are_filled_before_its_ready_jobs() -> None:
    worker = WorkerInfo(
        id="w", models=("tiny",), host="h", pid=1, device="cpu", slots=4, lookahead=2, num_jobs=5, step_s=0.25
    )

    shown = worker_view(worker, ["b1-000001"], NOW_MS)

    assert (shown.mood, shown.slots, shown.num_ready, shown.step) == ("drawing", (True,) * 4, 1, "250 ms")
    assert worker_view(worker.model_copy(update={"failing": "no memory"}), [], NOW_MS).mood == "failing"
    assert worker_view(worker.model_copy(update={"is_draining": True}), [], NOW_MS).mood == "draining"


def test_settings_are_named_for_people_and_strange_ones_keep_their_name() -> None:
    said = {"gone_setting": 3, "width": 64, "karras_sigmas": False, "guidance_scale": 5.0, "sampler": "dpmpp_2m"}

    assert named(said) == [
        ("Sampler", "DPM++ 2M"),
        ("Guidance", "5"),
        ("Width", "64 px"),
        ("Karras sigmas", "no"),
        ("gone_setting", "3"),
    ]


def test_long_texts_of_a_job_stand_apart_from_its_figures() -> None:
    job = a_job(request=RenderRequest(prompt="a", negative_prompt="fog", width=64))

    assert texts_of(job) == [("Negative prompt", "fog")]
    assert figures_of(job) == [("Width", "64 px")]


def test_every_setting_has_one_input_and_what_models_offer_can_be_chosen() -> None:
    broken = SeenModel(ModelCard(name="c"), broken={"w": "no weights"})
    seen = [SeenModel(ModelCard(name="b", defaults={"width": 96})), SeenModel(ModelCard(name="a")), broken]

    places = inputs(seen, "gone")

    found = {each.field.name: each for place in places.values() for each in place}
    assert set(found) == set(SETTING_FIELDS)
    assert [choice for choice, _ in found["model"].choices] == ["b", "a", "c", "gone"]
    assert [words for _, words in found["model"].choices] == ["b", "a", "c (cannot be loaded)", "gone"]
    assert ("euler_a", "Euler a") in found["sampler"].choices
    assert (found["width"].offers, found["height"].offers) == (("96", "512", "768", "1024"), ("512", "768", "1024"))
    assert [found[name].blank for name in ("seed", "lms_order", "width")] == ["random", "4", "model's"]
