"""A worker without an engine, for tests of the producer: takes what is dispatched and answers with a small picture."""

from __future__ import annotations

import hashlib
import io
import threading
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from PIL import Image, PngImagePlugin

from sigmafarm import Farm, Job, JobState, ModelCard, WorkerInfo
from sigmafarm_common.job_warnings import JobWarning
from sigmafarm_common.settings import SUBMITTERS_OWN
from sigmafarm_common.store.values import PACE_S, Claim, Output

#: What is said of pictures whose prompt asks for it.
WARNING = JobWarning(code="prompt_cut", text="2 tokens of the prompt <do> not fit")

#: What its models are made of.
WEIGHTS = "hand"


class FarmHand:
    """Keeper and worker in one, moved by hand: `work()` is one round of dispatch, claim, draw and finish."""

    def __init__(self, farm: Farm, *, models: tuple[str, ...] = ("tiny",), slots: int = 16, name: str = "hand"):
        """`name` is that of the worker and of its machine."""
        self.farm = farm
        about = {"host": name, "pid": 1, "device": "cpu", "fingerprints": dict.fromkeys(models, WEIGHTS)}
        self.info = WorkerInfo(id=name, models=models, slots=slots, lookahead=4, **about)
        cards = [ModelCard(name=name, defaults={"height": 64, "width": 64}) for name in models]
        farm.store.register_models(cards)
        farm.store.renew(self.info, [])

    def claim(self) -> list[Claim]:
        """Dispatch and claim as much as there is room for."""
        self.farm.store.renew(self.info, [])
        self.farm.store.take_back()
        claims = [self.farm.store.claim(d.job_id, self.info.id) for d in self.farm.store.dispatch()]
        return [claim for claim in claims if claim]

    def work(self) -> int:
        """Draw what there is room for; return how many. A prompt that begins with `fail` fails for good, the picture of
        one that begins with `warn` has a warning."""
        claims = self.claim()
        for claim in claims:
            self._finish(claim)
        return len(claims)

    def work_all(self) -> None:
        """Draw until nothing waits."""
        while self.work():
            pass

    def _finish(self, claim: Claim) -> None:
        store = self.farm.store
        if claim.request.prompt.startswith("fail"):
            store.fail(claim.job_id, claim.fence, code="render_failed", message="no luck", retryable=False)
            return
        source = claim.source
        data = self.farm.objects.get(source.image_key) if source else picture(claim)
        row = store.job(claim.job_id).row
        key = f"{claim.batch_id}/{row:06d}-f{claim.fence}.png"
        self.farm.objects.put(key, data, "image/png")
        warnings = (WARNING,) if claim.request.prompt.startswith("warn") else ()
        output = Output(key, hashlib.sha256(data).hexdigest(), len(data), fingerprint=WEIGHTS, warnings=warnings)
        output = replace(output, reused_from=source.job_id if source else "")
        assert store.finish(claim.job_id, claim.fence, output)


class Drawer:
    """Lets the hand work in a thread, as soon as anything waits."""

    def __init__(self, hand: FarmHand):
        self._hand = hand
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drawer")

    def _run(self) -> None:
        while not self._stop.is_set():
            if not self._hand.work():
                self._stop.wait(0.01)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()


def picture(claim: Claim) -> bytes:
    """Return a PNG as a worker makes it: of the asked size, with its parameters; flat if the prompt begins with it."""
    request = claim.request
    size = (request.width or 64, request.height or 64)
    shade = Image.linear_gradient("L").resize(size)
    image = Image.new("RGB", size) if request.prompt.startswith("flat") else shade.convert("RGB")
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", f"{request.prompt}\nSteps: {request.num_inference_steps}, Seed: {request.seed}")
    own = request.model_copy(update=dict.fromkeys(SUBMITTERS_OWN))  # which stand in no picture's file
    texts.add_text("sigmafarm", own.to_json())
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=texts)
    return file.getvalue()


def jobs_in(farm: Farm, batch_id: str, state: JobState) -> list[Job]:
    """Return a batch's jobs of one state."""
    return list(farm.batch(batch_id).jobs(state=state))


def a_pace(farm: Farm, *, per_slot: float = 0.2) -> None:
    """Let the farm have drawn so much in each ten seconds of the last minutes."""
    store: Any = farm.store
    last = store.now_ms() // (PACE_S * 1000) - 1
    said = {
        f"{slot}{name}": value
        for slot in range(last - 12, last)
        for name, value in (("", 1), (":work", int(per_slot * 1e6)))
    }
    store.client.hset(store.redis.key("pace"), mapping=said)
