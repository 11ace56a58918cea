"""Row 27 of the fault table: clients that leave before their picture is drawn, and come back."""

from __future__ import annotations

import io
import threading

import httpx2
import pytest
from openai import OpenAI
from PIL import Image

from sigmafarm_common.states import JobState
from tests.chaos import journal
from tests.chaos.chaos_farm import ChaosFarm, until
from tests.chaos.clients import Returning
from tests.chaos.conftest import MakeFarm
from tests.limits import LIMIT_S

#: A picture takes longer than the patience of every client, and than the grace of a client that left.
STEPS, STEP_S, PATIENCE_S = 1000, 0.008, 1.5


def drawn(farm: ChaosFarm, prompt: str) -> list[int]:
    """Return the steps of every try that ended in a picture."""
    return [entry.step for entry in journal.entries(farm.hooks, prompt) if entry.is_drawn]


def steps_wasted(farm: ChaosFarm, prompt: str) -> int:
    return sum(entry.step for entry in journal.entries(farm.hooks, prompt) if not entry.is_drawn)


@pytest.mark.parametrize("num_apis", [1, 2], ids=["to one process", "to the other of two"])
def test_27_clients_that_leave_and_come_back_have_a_picture_that_was_drawn_once(
    make_farm: MakeFarm, num_apis: int
) -> None:
    """Guards the lobby's one timer a batch, ended by whoever is back. With a timer for each leave the picture of a
    client that waits is cancelled by an earlier leave's, again and again."""
    farm = make_farm(step_s=STEP_S)
    farm.start_workers(1)
    apis = [str(farm.start_api().client.base_url) for _ in range(num_apis)]
    keyed, counting = Returning("keyed", STEPS, PATIENCE_S, key="once"), Returning("counting", STEPS, PATIENCE_S)
    threads = [threading.Thread(target=ask_in_turn, args=(client, apis)) for client in (keyed, counting)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for client in (keyed, counting):
        assert client.picture, (client.tries, client.refusal)
        assert Image.open(io.BytesIO(client.picture)).size == (64, 64), (client.tries, client.refusal)
        assert len(client.tries) > 2, "it was answered before it could leave"
        assert drawn(farm, client.prompt) == [STEPS], client.tries
        assert steps_wasted(farm, client.prompt) == 0, client.tries
    batches = [b.id for b in farm.store.batches()]
    assert len(batches) == 2
    farm.end_and_check(*batches)


def ask_in_turn(client: Returning, apis: list[str]) -> None:
    """Ask one process after the other, until the picture is there or much too much time went by."""
    stop = threading.Event()
    timer = threading.Timer(LIMIT_S, stop.set)
    timer.start()
    client.ask_until_answered(lambda: apis[len(client.tries) % len(apis)], stop)
    timer.cancel()


def test_27_openai_client_with_a_short_timeout_has_its_picture_in_the_end(make_farm: MakeFarm) -> None:
    """Guards the same with the real client: it times out at 1.5 s and comes back by itself. An answer that crosses with
    its leaving is lost to it, and no server knows: then there is another drawing for another answer."""
    farm = make_farm(step_s=STEP_S)
    farm.start_workers(1)
    api = farm.start_api()
    address = str(api.client.base_url)
    client = OpenAI(base_url=f"{address}/v1", api_key="none", timeout=PATIENCE_S, max_retries=20)

    answer = client.images.generate(prompt="patient", size="64x64", extra_body={"steps": STEPS})

    assert answer.data
    num_answers = api.log.read_text().count("route=/v1/images/generations status=200")
    assert num_answers >= 1
    assert drawn(farm, "patient") == [STEPS] * num_answers
    assert steps_wasted(farm, "patient") == 0
    farm.end_and_check(*(b.id for b in farm.store.batches()))


def test_27_a1111_client_that_leaves_leaves_no_work_behind(make_farm: MakeFarm) -> None:
    """Guards the cancel of what nobody waits for, down to the engine. AUTOMATIC1111's clients say nothing by which a
    request is known again: each is a batch. Without the cancel the farm draws all of them."""
    farm = make_farm(step_s=STEP_S)
    farm.start_workers(1)
    url = f"{farm.start_api().client.base_url}/sdapi/v1/txt2img"
    body = {"prompt": "again", "steps": STEPS, "width": 64, "height": 64}

    for _ in range(2):
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.post(url, json=body, timeout=PATIENCE_S, trust_env=False)
    answer = httpx2.post(url, json=body, timeout=LIMIT_S, trust_env=False)

    assert len(answer.json()["images"]) == 1
    assert drawn(farm, "again") == [STEPS]
    until(lambda: len(farm.store.batches()) == 3, "every request is a batch")
    left = [b for b in farm.store.batches() if b.counts.cancelled]
    assert len(left) == 2
    farm.end_and_check(*(b.id for b in farm.store.batches()), all_succeed=False)
    assert sorted(state for b in farm.store.batches() for state in farm.states(b.id)) == sorted(
        [JobState.CANCELLED, JobState.CANCELLED, JobState.SUCCEEDED]
    )
