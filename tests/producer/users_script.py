"""What a user may write with every public name, as type checkers read it: mypy --strict and pyright find nothing.

Each `assert_type` says what a name gives. It is checked, never run."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import assert_type

from PIL import Image

import sigmafarm
from sigmafarm import (
    AccessDenied,
    AsyncFarm,
    AsyncFarmBatch,
    AsyncFarmJob,
    Attempt,
    Batch,
    Config,
    Conflict,
    Counts,
    Download,
    Farm,
    FarmBatch,
    FarmJob,
    FarmUnavailable,
    FieldError,
    IllegalTransition,
    InvalidInput,
    InvalidPicture,
    InvalidRequest,
    InvalidRows,
    InvalidSettings,
    Job,
    JobState,
    ModelCard,
    NotFound,
    OutputFormat,
    Plan,
    QueueInfo,
    Quota,
    QuotaExceeded,
    RecordsLost,
    RenderRequest,
    Report,
    RowError,
    SeenModel,
    Settings,
    Sheet,
    SigmafarmError,
    StorageUnavailable,
    StoreUnavailable,
    SubmitInProgress,
    TooLarge,
    UnknownModel,
    UnreadableInput,
    UnsafeServer,
    WorkerInfo,
)

assert_type(sigmafarm.__version__, str)


def submit(farm: Farm, folder: Path) -> FarmBatch:
    farm.submit("a lighthouse", name="one", priority=3, idempotency_key="order-7")
    farm.submit(Path("prompts.csv"), skip_bad=True, reuse=True, owner="me", patience_s=1.0)
    farm.submit({"prompt": "a barn", "num_inference_steps": 30}, defaults=Settings(guidance_scale=6.0))
    farm.submit(["a"], init_image=Image.new("RGB", (64, 64)), mask_image=b"", seed=4, one_generator=True)
    farm.submit(["a {red|blue} barn"], sweep={"guidance_scale": [5, 7.5]}, alternatives=True, wildcards=folder, draws=2)
    bad: list[RowError] = []
    farm.submit(folder / "ids.csv", keep=["shot"], on_bad=lambda row, _: bad.append(row), parent="x")
    assert_type(farm.upload(folder / "a.png"), str)
    request = RenderRequest(prompt="a", output_format=OutputFormat.WEBP)
    plan = farm.plan([request], repeat=4)
    assert_type(plan, Plan)
    assert_type(plan.first, tuple[RenderRequest, ...])
    # Both find this: a comment that hides nothing would be an error itself.
    farm.submit(5)  # type: ignore[arg-type]
    return farm.submit([request, "a boat"], repeat=4, quota=Quota(jobs=10))


def ask(farm: Farm) -> None:
    assert_type(farm.batches(owner="me", limit=3), list[Batch])
    assert_type(farm.workers(), list[WorkerInfo])
    assert_type(farm.models(), list[ModelCard])
    assert_type(farm.seen_models(), list[SeenModel])
    assert_type(farm.queues(), list[QueueInfo])
    job = farm.job("x-000000")
    assert_type(job, FarmJob)
    assert_type(job.image(), Image.Image)
    job.rate(5)
    assert_type(job.state, JobState)
    assert_type(job.history, tuple[Attempt, ...])
    record: Job = job
    assert_type(record.request, RenderRequest)


def use(batch: FarmBatch, folder: Path) -> None:
    counts = batch.wait(progress=True, timeout_s=60)
    assert_type(counts, Counts)
    assert_type(counts.is_done, bool)
    assert_type(batch.record, Batch)
    assert_type(batch.skipped, tuple[RowError, ...])
    assert_type(batch.jobs(state=JobState.FAILED), Iterator[FarmJob])
    for job, image in batch.images():
        image.save(folder / f"{job.row}.png")
    assert_type(batch.download(folder, on_job=lambda job: print(job.row)), Download)
    batch.download(folder, name_by="id", verify=True)
    report = batch.report()
    assert_type(report, Report)
    assert_type(report.html(), str)
    sheet = batch.sheet()
    assert_type(sheet, Sheet)
    assert_type(sheet.draw(1), Image.Image)
    assert_type(batch.retry(states=[JobState.FAILED, JobState.CANCELLED]), int)
    assert_type(batch.set_priority(3).priority, int)
    assert_type((batch.pause(), batch.resume(), batch.cancel()), tuple[Batch, Batch, int])


async def use_asyncio(folder: Path) -> Counts:
    async with AsyncFarm.from_env(owner="me") as farm:
        assert_type(farm, AsyncFarm)
        batch = await farm.submit(["a"], sweep=["seed=1..4"], name="n")
        assert_type(batch, AsyncFarmBatch)
        assert_type(batch.jobs(), AsyncIterator[AsyncFarmJob])
        async for job, image in batch.images():
            image.save(folder / f"{job.row}.png")
            assert_type(await job.image(), Image.Image)
        assert_type(await batch.counts(), Counts)
        assert_type(await batch.report(), Report)
        assert_type(await batch.rate(4), int)
        assert_type(await batch.wait(progress=True), Counts)
        assert_type(await farm.batches(), list[Batch])
        assert_type((await farm.plan("a")).num_jobs, int)
        return await batch


def catch(farm: Farm) -> str:
    try:
        return farm.submit(["a"]).id
    except InvalidRows as error:
        assert_type(error.rows, tuple[RowError, ...])
        return "; ".join(field.message for row in error.rows for field in row.fields)
    except (InvalidRequest, UnknownModel, InvalidPicture, TooLarge, UnreadableInput, InvalidInput) as error:
        assert_type(error.fields, tuple[FieldError, ...])
        return error.code
    except (
        SubmitInProgress,
        IllegalTransition,
        Conflict,
        NotFound,
        QuotaExceeded,
        RecordsLost,
        InvalidSettings,
    ) as error:
        assert_type(error.retryable, bool)
        return str(error)
    except (StoreUnavailable, StorageUnavailable, AccessDenied, UnsafeServer, FarmUnavailable, SigmafarmError):
        raise


async def main() -> None:
    with Farm(Config(redis_url="redis://localhost:6379/0")) as farm:
        batch = submit(farm, Path("out"))
        ask(farm)
        use(batch, Path("out"))
        assert_type(await batch, Counts)
        print(catch(farm), await use_asyncio(Path("out")))
