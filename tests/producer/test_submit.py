"""Submitting: what is accepted, what is filled in, and that a bad submission leaves nothing behind."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from sigmafarm import (
    Config,
    Farm,
    InvalidInput,
    InvalidRequest,
    InvalidRows,
    ModelCard,
    RecordsLost,
    RenderRequest,
    StoreUnavailable,
    SubmitInProgress,
    UnknownModel,
)
from sigmafarm.catalog import Catalog
from sigmafarm_common.clock import Clock
from sigmafarm_common.errors import Conflict
from sigmafarm_common.model_card import card_of
from sigmafarm_common.models_file import ModelSpec
from tests.farm_hand import FarmHand
from tests.ports import free_port
from tests.redis_server import RedisServer


class Frame:
    """A table as pandas has it: what it yields are the names of its columns."""

    columns = ("prompt", "seed")

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)


def requests_of(farm: Farm, batch_id: str) -> list[RenderRequest]:
    return [job.request for job in farm.batch(batch_id).jobs()]


def test_prompts_mappings_and_requests_become_jobs_in_order(farm: Farm, hand: FarmHand):
    batch = farm.submit(
        ["a", {"prompt": "b", "num_inference_steps": 7}, RenderRequest(prompt="c", seed=4)], name="mixed"
    )

    jobs = list(batch.jobs())
    assert [(j.row, j.request.prompt, j.state) for j in jobs] == [
        (0, "a", "queued"),
        (1, "b", "queued"),
        (2, "c", "queued"),
    ]
    assert (jobs[1].num_steps, jobs[2].request.seed) == (7, 4)
    assert (batch.record.name, batch.record.owner, batch.counts.queued) == ("mixed", "local", 3)


def test_a_single_prompt_is_one_row_and_not_its_letters(farm: Farm, hand: FarmHand):
    assert farm.submit("a cat").counts.total == 1
    assert farm.submit(RenderRequest(prompt="a cat")).counts.total == 1
    assert farm.submit({"prompt": "a cat"}).counts.total == 1


def test_any_iterable_is_streamed_in_order(farm: Farm, hand: FarmHand):
    batch = farm.submit(f"prompt {n}" for n in range(1234))

    assert [r.prompt for r in requests_of(farm, batch.id)] == [f"prompt {n}" for n in range(1234)]


def test_a_setting_comes_from_row_then_batch_then_model_then_farm(farm: Farm, hand: FarmHand):
    row = {"prompt": "a", "guidance_scale": 3}
    batch = farm.submit([row], defaults={"guidance_scale": 5, "num_inference_steps": 20})

    (request,) = requests_of(farm, batch.id)
    assert request.guidance_scale == 3  # the row's
    assert request.num_inference_steps == 20  # the batch's
    assert (request.height, request.width) == (64, 64)  # the model's
    assert (request.lms_order, request.negative_prompt) == (4, "")  # the farm's
    assert request.model == "tiny"
    assert batch.record.defaults == {"guidance_scale": 5.0, "num_inference_steps": 20}


def test_a_seed_that_nobody_names_is_drawn_and_recorded(farm: Farm, hand: FarmHand):
    seeds = [r.seed for r in requests_of(farm, farm.submit(["a"] * 50).id)]

    assert all(seed is not None and 0 <= seed < 2**32 for seed in seeds)
    assert len(set(seeds)) == 50


def test_repeats_count_up_from_a_named_seed(farm: Farm, hand: FarmHand):
    batch = farm.submit([{"prompt": "a", "seed": 10}, {"prompt": "b", "seed": 20}], repeat=3)

    assert [(r.prompt, r.seed) for r in requests_of(farm, batch.id)] == [
        *[("a", s) for s in (10, 11, 12)],
        *[("b", s) for s in (20, 21, 22)],
    ]


def test_repeats_count_up_from_the_batchs_seed_too(farm: Farm, hand: FarmHand):
    batch = farm.submit(["a"], defaults={"seed": 5}, repeat=2)

    assert [r.seed for r in requests_of(farm, batch.id)] == [5, 6]


def test_repeats_without_a_seed_draw_one_each(farm: Farm, hand: FarmHand):
    assert len({r.seed for r in requests_of(farm, farm.submit("a", repeat=5).id)}) == 5


def test_repeats_cannot_run_over_the_largest_seed(farm: Farm, hand: FarmHand):
    with pytest.raises(InvalidRows, match="3 repeats end above 9223372036854775807"):
        farm.submit({"prompt": "a", "seed": 2**63 - 2}, repeat=3)


def test_all_bad_rows_are_told_together_and_nothing_is_left(farm: Farm, hand: FarmHand, redis_client: redis.Redis):
    keys_before = set(redis_client.keys())
    rows = ["good"] * 1200
    rows[600] = "x" * 20_000
    bad: list[Any] = [*rows, {"prompt": "x", "width": 515, "num_inference_steps": 0}, {"promt": "x"}, 7]

    with pytest.raises(InvalidRows) as caught:
        farm.submit(bad)

    said = str(caught.value)
    assert "4 of 1203 rows are bad, nothing was submitted" in said
    assert "row 601: prompt is 'xxxx" in said
    assert "row 1201: num_inference_steps is 0: must be at least 1; width is 515: must be a multiple of 8" in said
    assert "nearest 512 or 520" in said
    assert "row 1202: prompt is missing: give one; promt is no setting of a job: did you mean prompt?" in said
    assert "row 1203: the row is 7: must be a text, a mapping or a RenderRequest" in said
    assert [r.row for r in caught.value.rows] == [601, 1201, 1202, 1203]
    assert farm.batches() == []
    assert not any(":job:" in key for key in set(redis_client.keys()) - keys_before)


def test_bad_rows_can_be_skipped_and_are_told(farm: Farm, hand: FarmHand):
    batch = farm.submit(["a", {"prompt": "b", "guidance_scale": float("nan")}, "c"], skip_bad=True)

    assert [r.prompt for r in requests_of(farm, batch.id)] == ["a", "c"]
    assert [str(r) for r in batch.skipped] == ["row 2: guidance_scale is nan: must be a finite number"]


def test_skipping_every_row_submits_nothing(farm: Farm, hand: FarmHand):
    with pytest.raises(InvalidRows, match="1 of 1 rows are bad"):
        farm.submit([{"prompt": "a", "width": 1}], skip_bad=True)

    assert farm.batches() == []


def test_no_prompt_at_all_is_an_error(farm: Farm, hand: FarmHand):
    with pytest.raises(InvalidInput, match="there is no prompt: give at least one"):
        farm.submit([])


def test_a_bad_default_is_told_once_and_not_for_every_row(farm: Farm, hand: FarmHand):
    with pytest.raises(InvalidRequest, match="height is 7: must be a multiple of 8"):
        farm.submit(["a"] * 10, defaults={"height": 7})


def test_bad_orders_are_told_together(farm: Farm, hand: FarmHand):
    with pytest.raises(InvalidRequest) as caught:
        farm.submit("a", priority=101, repeat=0, name="n" * 201)

    assert [f.field for f in caught.value.fields] == ["priority", "repeat", "name"]


def test_an_unknown_model_names_the_known_ones(farm: Farm, hand: FarmHand):
    with pytest.raises(UnknownModel, match=r"model is 'sdxl': this farm knows tiny; start a worker"):
        farm.submit("a", defaults={"model": "sdxl"})
    with pytest.raises(InvalidRows, match=r"row 2: model is 'sdxl': this farm knows tiny"):
        farm.submit(["a", {"prompt": "b", "model": "sdxl"}])


def test_a_farm_without_any_model_says_so(farm: Farm):
    with pytest.raises(UnknownModel, match="this farm knows no model yet; start a worker"):
        farm.submit(["a", "b"])


def test_with_several_models_a_request_must_name_one(farm: Farm):
    FarmHand(farm, models=("one", "two"))

    with pytest.raises(InvalidRows, match="name one of one, two, or set SIGMAFARM_DEFAULT_MODEL"):
        farm.submit("a")
    assert farm.submit({"prompt": "a", "model": "two"}).counts.queued == 1


def test_the_default_model_is_the_settings(redis_client: redis.Redis, redis_url: str):
    farm = Farm(Config(redis_url=redis_url, default_model="two"))
    FarmHand(farm, models=("one", "two"))

    assert requests_of(farm, farm.submit("a").id)[0].model == "two"


def test_the_models_file_speaks_for_models_that_no_worker_told_of(
    redis_client: redis.Redis, redis_url: str, tmp_path: Path
):
    (tmp_path / "checkpoint" / "unet").mkdir(parents=True)
    (tmp_path / "checkpoint" / "unet" / "config.json").write_text('{"sample_size": 24}')
    models_file = tmp_path / "models.toml"
    models_file.write_text('[models.first]\npath = "checkpoint"\ndefaults = {num_inference_steps = 12}\n')
    farm = Farm(Config(redis_url=redis_url, models_file=models_file))

    (request,) = requests_of(farm, farm.submit("a").id)

    assert (request.model, request.num_inference_steps, request.height, request.width) == ("first", 12, 192, 192)


def test_a_sampler_that_cannot_begin_in_pure_noise_is_refused_at_submit_with_the_cure(farm: Farm):
    farm.store.register_models([ModelCard(name="tiny", is_zero_snr=True)])

    with pytest.raises(InvalidRows, match=r"sampler heun cannot begin in pure noise.*take one of lms, euler"):
        farm.submit("a", defaults={"sampler": "heun"})
    assert farm.submit("a", defaults={"sampler": "euler"}).counts.total == 1


def test_a_size_that_nobody_knows_is_512():
    assert Catalog([card_of(ModelSpec(name="m", path="some/hub-name"))]).defaults_of("m")["width"] == 512


def test_the_same_idempotency_key_gives_the_same_batch(farm: Farm, hand: FarmHand):
    first = farm.submit(["a", "b"], idempotency_key="k")
    again = farm.submit(["a", "b"], idempotency_key="k")

    assert (first.is_new, again.is_new) == (True, False)
    assert again.id == first.id
    assert len(farm.batches()) == 1


def test_a_key_that_is_being_submitted_is_waited_for(farm: Farm, hand: FarmHand):
    store = farm.store
    held = store.begin_batch(name="", owner="local", priority=0, defaults={}, idempotency_key="k").batch_id

    class SealingClock:
        """When somebody waits, the other submit ends."""

        def monotonic_s(self) -> float:
            return 0.0

        def wait(self, event: threading.Event, timeout_s: float) -> bool:
            store.add_rows(held, [RenderRequest(prompt="a").resolved({"model": "tiny"})])
            store.seal_batch(held)
            return False

    clock: Clock = SealingClock()
    batch = Farm(farm.config, clock=clock).submit("a", idempotency_key="k")

    assert (batch.id, batch.is_new) == (held, False)


def test_a_key_that_stays_held_is_an_error_in_the_end(farm: Farm, hand: FarmHand):
    farm.store.begin_batch(name="", owner="local", priority=0, defaults={}, idempotency_key="k")

    class HastyClock:
        now_s = 0.0

        def monotonic_s(self) -> float:
            return self.now_s

        def wait(self, event: threading.Event, timeout_s: float) -> bool:
            self.now_s += 100
            return False

    with pytest.raises(SubmitInProgress, match="idempotency key 'k'"):
        Farm(farm.config, clock=HastyClock()).submit("a", idempotency_key="k")


def test_an_error_of_the_callers_own_leaves_nothing(farm: Farm, hand: FarmHand, redis_client: redis.Redis):
    def rows() -> Iterator[str]:
        yield from ["a"] * 700
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        farm.submit(rows(), idempotency_key="k")

    assert farm.batches() == []
    assert redis_client.keys("*:job:*") == []
    assert farm.submit("a", idempotency_key="k").is_new


def test_a_farm_that_is_away_is_an_error_with_the_cure(tmp_path: Path):
    farm = Farm(Config(redis_url=f"redis://127.0.0.1:{free_port()}", data_dir=tmp_path))

    with pytest.raises(StoreUnavailable, match="start it, or check SIGMAFARM_REDIS_URL"):
        farm.submit("a")


def test_without_a_url_and_an_embedded_farm_the_cure_is_named(tmp_path: Path):
    with pytest.raises(StoreUnavailable, match="start one with `sigmafarm up`"):
        Farm(Config(data_dir=tmp_path)).submit("a")


def test_a_submit_whose_seal_was_made_and_not_answered_is_accepted(
    farm: Farm, hand: FarmHand, monkeypatch: pytest.MonkeyPatch
):
    seal = farm.store.seal_batch

    def unanswered(*said: Any, **more: Any) -> None:
        seal(*said, **more)
        raise StoreUnavailable("the answer was lost")

    monkeypatch.setattr(farm.store, "seal_batch", unanswered)

    batch = farm.submit(["a", "b"])

    assert (batch.counts.queued, [each.id for each in farm.batches()]) == (2, [batch.id])


def test_an_error_that_is_no_lost_answer_is_said_though_the_batch_was_sealed(
    farm: Farm, hand: FarmHand, monkeypatch: pytest.MonkeyPatch
):
    seal = farm.store.seal_batch

    def interrupted(*said: Any, **more: Any) -> None:
        seal(*said, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(farm.store, "seal_batch", interrupted)

    with pytest.raises(KeyboardInterrupt):
        farm.submit(["a"])


def test_a_redis_that_dies_midway_ends_the_submit_and_leaves_nothing_accepted(tmp_path: Path):
    server = RedisServer(tmp_path / "redis", has_aof=True)
    server.start()
    farm = Farm(Config(redis_url=server.url, data_dir=tmp_path))
    FarmHand(farm)

    def rows() -> Iterator[str]:
        yield from ["a"] * 700
        server.kill()
        yield from ["b"] * 700

    with pytest.raises(StoreUnavailable, match="Redis is out of reach"):
        farm.submit(rows())

    server.start()
    assert farm.batches() == []
    server.stop()


@pytest.mark.parametrize("saved_before", [0, 1, 2], ids=["the batch and all", "all rows", "some rows"])
def test_a_redis_that_loses_its_newest_writes_midway_ends_the_submit_and_it_can_be_said_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved_before: int
):
    server = RedisServer(tmp_path / "redis")
    server.start()
    farm = Farm(Config(redis_url=server.url, data_dir=tmp_path))
    FarmHand(farm)
    add_rows, calls = farm.store.add_rows, count(1)

    def crashing(*said: Any, **more: Any) -> None:
        """Add rows to a server that goes to its disk before one of the calls, and loses all since before the third."""
        if (number := next(calls)) == saved_before:
            server.client().save()
        if number == 3:
            server.kill()
            server.start()
        add_rows(*said, **more)

    monkeypatch.setattr(farm.store, "add_rows", crashing)
    with pytest.raises(RecordsLost, match=r"Redis has lost its newest writes.*nothing was accepted, submit it again"):
        farm.submit(["a"] * 1700, idempotency_key="k")
    assert farm.batches() == []

    FarmHand(farm)
    batch = farm.submit(["a"] * 1700, idempotency_key="k")
    assert (batch.is_new, batch.counts.queued) == (True, 1700)
    server.stop()


def test_a_batch_that_stood_still_and_was_discarded_is_told_from_one_that_was_lost(
    farm: Farm, hand: FarmHand, monkeypatch: pytest.MonkeyPatch
):
    clock = farm._connections.clock

    def rows() -> Iterator[str]:
        yield "a"
        now_s = clock.monotonic_s()
        monkeypatch.setattr(clock, "monotonic_s", lambda: now_s + farm.config.submit_stale_s)
        farm.store.discard_batch(
            farm.store.client.zrange(f"{farm.config.namespace}:open", 0, 0)[0]
        )  # as the keeper does

    with pytest.raises(Conflict, match="SIGMAFARM_SUBMIT_STALE_S and was discarded; submit it again"):
        farm.submit(rows())


def test_a_rows_sampler_is_drawn_though_the_model_spaces_noise_levels_as_it_cannot(farm: Farm, hand: FarmHand):
    farm.store.register_models([ModelCard(name="tiny", defaults={"width": 64, "height": 64, "karras_sigmas": True})])

    batch = farm.submit([{"prompt": "a", "sampler": "DDIM"}, {"prompt": "a", "sampler": "DPM++ 2M"}])

    drawn = [(job.request.sampler, job.request.karras_sigmas) for job in batch.jobs()]
    assert drawn == [("ddim", False), ("dpmpp_2m", True)]


def test_rows_of_one_generator_are_the_places_of_one_call(farm: Farm, hand: FarmHand) -> None:
    batch = farm.submit(["a", {"prompt": "b", "num_inference_steps": 9}, "c"], seed=100, one_generator=True)
    drawn = farm.submit(["a", "b"], one_generator=True)

    requests = [job.request for job in batch.jobs()]
    assert [(r.seed, r.image_index, r.image_count) for r in requests] == [(100, 0, 3), (100, 1, 3), (100, 2, 3)]
    assert len({job.request.seed for job in drawn.jobs()}) == 1
    with pytest.raises(InvalidRows, match="row 2: seed is 7: one_generator draws all rows from seed 100"):
        farm.submit(["a", {"prompt": "b", "seed": 7}], seed=100, one_generator=True)


def test_a_call_takes_rows_that_say_its_seed_as_files_do(farm: Farm, hand: FarmHand, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("prompt,seed\na,100\nb,\nc,100.0\nd,x\n")

    with pytest.raises(InvalidRows) as caught:
        farm.submit(tmp_path / "p.csv", seed=100, one_generator=True)

    assert [row.row for row in caught.value.rows] == [4, 5]


def test_settings_of_pictures_mean_nothing_without_one(farm: Farm, hand: FarmHand) -> None:
    with pytest.raises(InvalidRows, match=r"strength is 0.5: it means nothing without init_image"):
        farm.submit("a", defaults={"strength": 0.5})
    with pytest.raises(InvalidRows, match=r"mask_blur is 4: it means nothing without mask_image"):
        farm.submit([{"prompt": "a", "mask_blur": 4}])


def test_equal_jobs_are_drawn_once_where_that_is_asked_for(farm: Farm, hand: FarmHand) -> None:
    first = farm.submit("a", defaults={"seed": 1})
    hand.work()

    batch = farm.submit(["a", "b", "b"], defaults={"seed": 1}, reuse=True)
    hand.work_all()

    assert (batch.record.reuse, first.record.reuse) == (True, False)
    drawn = [job.reused_from for job in batch.jobs()]
    assert drawn == [f"{first.id}-000000", "", f"{batch.id}-000001"]
    assert batch.record.num_reused == 2


BROKEN = "model 'bad', unet: bad/config.json: sample_size is null: must be a whole number"


def break_model(farm: Farm, hand: FarmHand) -> None:
    """Let a living worker say that it could not load a model."""
    farm.store.renew(hand.info.model_copy(update={"broken": {"bad": BROKEN}}), [])


def test_a_model_that_no_worker_could_load_is_refused_with_what_is_wrong_and_a_sound_one(farm: Farm, hand: FarmHand):
    break_model(farm, hand)

    for prompts, defaults in ((["a"], {"model": "bad"}), ([{"prompt": "a", "model": "bad"}], {})):
        with pytest.raises(InvalidInput) as caught:
            farm.submit(prompts, defaults=defaults)
        assert f"model 'bad' cannot be loaded: worker hand: {BROKEN}; mend it, or choose tiny" in str(caught.value)
        with pytest.raises(InvalidInput, match="cannot be loaded"):
            farm.plan(prompts, defaults=defaults)
    assert farm.batches() == []
    assert farm.submit(["a"], defaults={"model": "tiny"}).counts.total == 1


def test_a_model_that_one_worker_could_not_load_and_another_serves_is_taken(farm: Farm, hand: FarmHand):
    break_model(farm, hand)
    farm.store.register_models([ModelCard(name="bad", defaults={"height": 64, "width": 64})])
    farm.store.renew(hand.info.model_copy(update={"id": "other", "models": ("bad",)}), [])

    assert farm.submit(["a"], defaults={"model": "bad"}).counts.total == 1


@pytest.mark.parametrize("said", ["", " ", {"prompt": ""}])
def test_the_empty_prompt_is_drawn_as_diffusers_draws_it(farm: Farm, hand: FarmHand, said: Any):
    (request,) = requests_of(farm, farm.submit(said).id)

    assert not request.prompt.strip()


@pytest.mark.parametrize("seed", [-1, "-1", " -1 ", -1.0])
def test_seed_minus_one_draws_one_in_rows_defaults_and_files(farm: Farm, hand: FarmHand, tmp_path: Path, seed: Any):
    (tmp_path / "p.csv").write_text("prompt,seed\na,-1\nb,7\n")
    drawn = [
        *requests_of(farm, farm.submit({"prompt": "a", "seed": seed}, repeat=3, defaults={"seed": 5}).id),
        *requests_of(farm, farm.submit(["a", "b"], defaults={"seed": seed}).id),
    ]
    by_file = requests_of(farm, farm.submit(tmp_path / "p.csv").id)
    (one_call,) = {r.seed for r in requests_of(farm, farm.submit(["a", "b"], seed=-1, one_generator=True).id)}
    swept = requests_of(farm, farm.submit("a", defaults={"seed": seed}, sweep={"guidance_scale": [1, 2]}).id)

    assert len({r.seed for r in drawn}) == 5
    assert all(r.seed >= 0 and r.seed != 5 for r in drawn)
    assert by_file[0].seed >= 0
    assert by_file[1].seed == 7
    assert one_call >= 0
    assert len({r.seed for r in swept}) == 1, "a sweep compares pictures of one seed"


def test_a_path_is_the_rows_of_its_file(farm: Farm, hand: FarmHand, tmp_path: Path):
    path = tmp_path / "p.txt"
    path.write_text("a\nb\n")

    assert [r.prompt for r in requests_of(farm, farm.submit(path).id)] == ["a", "b"]
    assert farm.plan(path).num_jobs == 2


@pytest.mark.parametrize(
    ("prompts", "said", "problem"),
    [
        ("a", {"repeat": 1.5}, "repeat is 1.5: must be a whole number"),
        ("a", {"repeat": True}, "repeat is True: must be a whole number"),
        ("a", {"priority": "high"}, "priority is 'high': must be a whole number"),
        ("a", {"name": 7}, "name is 7: must be a text"),
        ("a", {"idempotency_key": 7}, "idempotency_key is 7: must be a text"),
        ("a", {"owner": 7}, "owner is 7: must be a text"),
        (7, {}, "prompts is 7: must be a text, settings by name, a path of a file, or a list of rows"),
        (None, {}, "prompts is None: must be"),
        (b"a", {}, "prompts is b'a': must be"),
        (np.array("a"), {}, "prompts is a: must be a text"),
        (io.StringIO("a\nb\n"), {}, "prompts is an open file (StringIO): give its path, as in submit(Path(...))"),
        (io.BytesIO(b"a"), {}, "prompts is an open file (BytesIO): give its path"),
        (Frame(), {}, "prompts is a table (Frame): give its rows: df.to_dict('records') of pandas"),
        ("a", {"defaults": ["seed"]}, "defaults is ['seed']: must be settings by name"),
        ("a", {"defaults": "seed=4"}, "defaults is 'seed=4': must be settings by name"),
    ],
)
def test_what_is_of_another_kind_is_told_and_no_type_error(
    farm: Farm, hand: FarmHand, prompts: Any, said: dict[str, Any], problem: str
):
    with pytest.raises(InvalidRequest) as caught:
        farm.submit(prompts, **said)

    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "other",
    [
        {"prompts": ["a", "c"]},
        {"prompts": ["a"]},
        {"prompts": ["a", "b", "c"]},
        {"defaults": {"width": 72}},
        {"repeat": 2},
        {"reuse": True},
    ],
)
def test_a_key_that_comes_with_other_rows_is_refused(farm: Farm, hand: FarmHand, other: dict[str, Any]):
    said = {"prompts": ["a", {"prompt": "b", "seed": 4}], "idempotency_key": "k", "defaults": {}}
    first = farm.submit(**said, sweep={"guidance_scale": [1, 2]})

    again = farm.submit(**said, sweep={"guidance_scale": [1, 2]}, name="its name is no part of it")
    assert (again.id, again.is_new) == (first.id, False)

    with pytest.raises(Conflict, match=rf"'k' names batch {first.id}, which was submitted with other rows or settings"):
        farm.submit(**{**said, **other}, sweep={"guidance_scale": [1, 2]})
    assert len(farm.batches()) == 1


def test_a_key_knows_the_same_rows_in_every_form(farm: Farm, hand: FarmHand, tmp_path: Path):
    said: Any = [{"prompt": "a", "seed": 4, "guidance_scale": 7.5, "karras_sigmas": True}, {"prompt": "b"}]
    for name, text in (
        ("p.json", json.dumps(said)),
        ("p.csv", "guidance_scale,prompt,seed,karras_sigmas\n7.5,a,4,true\n,b,,\n"),
        ("p.txt", "--prompt a --seed 4 --cfg_scale 7.5 --karras_sigmas true\nb\n"),
    ):
        (tmp_path / name).write_text(text)
    rows = [said, [said[0], "b"], [said[0], {"prompt": "b", "seed": None}], [RenderRequest(**said[0]), "b"]]
    numpys = [{**said[0], "seed": np.int64(4), "guidance_scale": np.float64(7.5)}, "b"]

    forms = [*rows, numpys, *(tmp_path / name for name in ("p.json", "p.csv", "p.txt"))]
    made = [farm.submit(form, idempotency_key="k").id for form in forms]

    assert made == made[:1] * len(forms)
    with pytest.raises(Conflict):
        farm.submit([{**said[0], "seed": 5}, "b"], idempotency_key="k")


def test_rows_that_are_no_rows_are_told_beside_a_key_too(farm: Farm, hand: FarmHand):
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    for row in ({"prompt": "a", 1: 2}, 7, {"prompt": {3}}, ["a"], {"prompt": deep}, {"prompt": "a", "seed": 10**5000}):
        with pytest.raises(InvalidRows):
            farm.submit(["a", row], idempotency_key="k")  # type: ignore[list-item]
    assert farm.submit(["a"], idempotency_key="k").is_new


def test_a_setting_as_an_argument_of_its_own_is_refused_and_not_lost(farm: Farm, hand: FarmHand):
    for call in (farm.submit, farm.plan):
        with pytest.raises(TypeError, match=r"width is no argument of submit: settings of all rows stand in defaults="):
            call("a", width=128)  # pyright: ignore[reportCallIssue]

    assert farm.batches() == []
