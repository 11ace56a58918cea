"""Pictures as input from Python, prompt files and the program: stored once, found by name, refused with the cure."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sigmafarm import Farm, InvalidPicture, InvalidRequest, InvalidRows, RenderRequest, picture_sources
from sigmafarm_common.errors import NotFound
from sigmafarm_common.picture_inputs import sha256_of
from sigmafarm_common.records import Upload
from tests.command_line import Run, runner
from tests.common.test_uploads import file_of
from tests.farm_hand import FarmHand
from tests.producer.test_submit import requests_of


@pytest.fixture
def run(
    farm: Farm, hand: FarmHand, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    monkeypatch.chdir(tmp_path)
    return runner(farm, monkeypatch, capsys)


def picture(width: int = 64, height: int = 64, red: int = 200) -> Image.Image:
    return Image.new("RGB", (width, height), (red, 40, 40))


def stored(farm: Farm, name: str | None, owner: str = "local") -> Upload:
    return farm.store.upload(owner, sha256_of(name or "") or "")


def objects_of(farm: Farm) -> list[str]:
    return [o.key for o in farm.objects.list("uploads/")]


def drawn_on(request: RenderRequest) -> tuple[object, ...]:
    return request.init_image, request.width, request.height


def refusal(farm: Farm, **said: Any) -> str:
    with pytest.raises((InvalidRequest, InvalidRows)) as caught:
        farm.submit([{"prompt": "a", **said}])
    return str(caught.value)


def test_paths_bytes_and_pictures_are_one_upload(farm: Farm, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(file_of(picture()))

    names = {
        farm.upload(tmp_path / "a.png"),
        farm.upload(str(tmp_path / "a.png")),
        farm.upload(file_of(picture(), "WEBP", lossless=True)),
        farm.upload(picture()),
    }

    (name,) = names
    assert len(objects_of(farm)) == 1
    assert Image.open(io.BytesIO(farm.objects.get(stored(farm, name).key))).tobytes() == picture().tobytes()


def test_what_is_no_picture_is_refused_with_its_path(farm: Farm, tmp_path: Path):
    (tmp_path / "text.png").write_text("hello")

    for source, said in (
        (tmp_path / "text.png", f"{tmp_path}/text.png: the file is no PNG, JPEG or WEBP"),
        (tmp_path / "none.png", f"{tmp_path}/none.png cannot be read: No such file or directory; check the path"),
        (7, "a int is no picture: give a path, the bytes of a file, or an Image"),
    ):
        with pytest.raises(InvalidPicture) as caught:
            farm.upload(source)  # type: ignore[arg-type]
        assert said in str(caught.value)
    assert objects_of(farm) == []


def test_rows_and_batches_name_pictures_in_every_way(farm: Farm, hand: FarmHand, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(file_of(picture(red=1)))
    name = farm.upload(picture(red=2))
    rows = [
        {"prompt": "path", "init_image": tmp_path / "a.png"},
        {"prompt": "bytes", "init_image": file_of(picture(red=1))},
        {"prompt": "pillow", "init_image": picture(red=1)},
        RenderRequest(prompt="name", init_image=name),
        "the batch's",
    ]

    batch = farm.submit(rows, init_image=picture(red=3), mask_image=picture(red=4))

    requests = requests_of(farm, batch.id)
    assert len({r.init_image for r in requests[:3]}) == 1
    assert [requests[3].init_image, requests[4].init_image] == [name, farm.upload(picture(red=3))]
    assert {r.mask_image for r in requests} == {farm.upload(picture(red=4))}
    assert batch.record.defaults.keys() == {"init_image", "mask_image"}
    assert len(objects_of(farm)) == 4
    assert stored(farm, name).batches == (batch.id,)


def test_a_file_that_many_rows_name_is_read_and_stored_once(
    farm: Farm, hand: FarmHand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    reads: list[str] = []
    read_file = picture_sources.read_file
    monkeypatch.setattr(picture_sources, "read_file", lambda path: reads.append(path) or read_file(path))
    for name in ("a.png", "same.png"):
        (tmp_path / name).write_bytes(file_of(picture()))

    farm.submit({"prompt": str(n), "init_image": tmp_path / name} for n in range(50) for name in ("a.png", "same.png"))

    assert (len(reads), len(objects_of(farm))) == (2, 1)


def test_a_chain_goes_on_from_a_finished_jobs_picture_where_it_lies(farm: Farm, hand: FarmHand):
    first = farm.submit("a", defaults={"width": 96, "height": 64})
    job_id = f"{first.id}-000000"
    waiting = refusal(farm, init_image=f"job:{job_id}")
    hand.work()
    job = farm.job(job_id)

    batch = farm.submit([{"prompt": "b", "init_image": f"job:{job_id}", "height": 128}])

    (request,) = requests_of(farm, batch.id)
    assert request.init_image == f"sha256:{job.sha256}"
    assert (request.width, request.height) == (192, 128)
    assert (stored(farm, request.init_image).key, objects_of(farm)) == (job.image_key, [])
    assert "has no picture, it is queued: wait until it is drawn" in waiting
    assert "there is no such job" in refusal(farm, init_image="job:0123456789abcde-000000")
    farm.objects.delete(job.image_key)
    assert "is not stored any more: submit its prompt again" in refusal(farm, init_image=f"job:{job_id}")


def test_a_dry_run_checks_pictures_and_stores_none(farm: Farm, hand: FarmHand, run: Run, tmp_path: Path):
    drawn = farm.submit("a", defaults={"width": 96, "height": 64})
    hand.work()
    (tmp_path / "a.png").write_bytes(file_of(picture(128, 64)))
    rows = [
        {"prompt": "path", "init_image": tmp_path / "a.png"},
        {"prompt": "bytes", "init_image": file_of(picture(red=1))},
        {"prompt": "job", "init_image": f"job:{drawn.id}-000000"},
        "the batch's",
    ]

    plan = farm.plan(rows, defaults={"init_image": picture(red=2)})
    ran = run("submit", "-p", "a", "--init-image", "a.png", "--dry-run", "--json")
    bad = run("submit", "-p", "a", "--init-image", "none.png", "--dry-run")

    assert (plan.num_jobs, ran.code, bad.code) == (4, 0, 2)
    assert "none.png cannot be read" in bad.err
    assert objects_of(farm) == []
    for request in plan.first:
        with pytest.raises(NotFound):
            stored(farm, request.init_image)
    batch = farm.submit(rows, init_image=picture(red=2))
    assert [drawn_on(r) for r in requests_of(farm, batch.id)] == [drawn_on(r) for r in plan.first]


def test_pictures_and_jobs_of_another_owner_do_not_exist(farm: Farm, hand: FarmHand):
    name = farm.upload(picture(), owner="ben")
    batch = farm.submit("a", owner="ben")
    hand.work()

    assert "there is no such picture (any more); upload it" in refusal(farm, init_image=name)
    assert "there is no such job" in refusal(farm, init_image=f"job:{batch.id}-000000")
    assert farm.submit([{"prompt": "b", "init_image": name}], owner="ben").counts.total == 1


def test_size_follows_the_picture_unless_it_is_said(farm: Farm, hand: FarmHand):
    name = farm.upload(picture(96, 48))  # the model's own size is 64 x 64

    batch = farm.submit(
        [
            {"prompt": "its shape, no more pixels than the model's", "init_image": name},
            {"prompt": "said", "init_image": name, "width": 128, "height": 128},
            {"prompt": "one side said", "init_image": name, "width": "192"},
            {"prompt": "its own", "init_image": name, "fit": "strict", "height": 48},
        ],
        skip_bad=True,
    )

    assert [(r.width, r.height) for r in requests_of(farm, batch.id)] == [(88, 64), (128, 128), (192, 96)]
    assert "height is 48: must be a multiple of 8 between 64 and 2048" in str(batch.skipped[0])


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"mask_image": "PICTURE"}, "mask_image comes without init_image"),
        ({"init_image": "PICTURE", "mask_image": "OTHER"}, "mask_image has 72 x 64 pixels, init_image 64 x 64: send"),
        ({"init_image": "PICTURE", "fit": "strict", "width": 128}, "64 x 64 pixels, and the job 128 x 64: fit is str"),
        ({"init_image": "PICTURE", "width": "wide"}, "width is 'wide': must be a whole number"),
        ({"init_image": "PICTURE", "fit": "stretch"}, "fit is 'stretch': must be 'crop' or 'strict'"),
        ({"init_image": "none.png"}, "init_image is 'none.png': none.png cannot be read: No such file"),
        ({"init_image": b"text"}, "init_image is 'a picture': the file is no PNG, JPEG or WEBP"),
        ({"init_image": ["x"]}, "a list is no picture"),
    ],
)
def test_what_does_not_fit_is_refused_at_submit(farm: Farm, hand: FarmHand, said: dict[str, Any], words: str):
    named = {"PICTURE": farm.upload(picture()), "OTHER": farm.upload(picture(72))}

    assert words in refusal(farm, **{k: named.get(v, v) if isinstance(v, str) else v for k, v in said.items()})


def test_a_request_itself_takes_names_alone():
    with pytest.raises(InvalidRequest, match=r"init_image is 'a.png': must be sha256:\.\.\. as an upload answers"):
        RenderRequest.parse({"prompt": "a", "init_image": "a.png"})


def test_other_peoples_submissions_never_read_a_file_here(farm: Farm, hand: FarmHand, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(file_of(picture()))
    guarded = Farm(farm.config, can_read_files=False)

    said = refusal(guarded, init_image=str(tmp_path / "a.png"))

    assert "must be sha256:... as POST /v1/images answers, or job:" in said
    with pytest.raises(InvalidRequest, match="must be sha256"):
        guarded.submit("a", init_image=tmp_path)
    assert objects_of(farm) == []


class SlowClock:
    """A clock on which a second goes by at each look."""

    now_s = 0.0

    def monotonic_s(self) -> float:
        self.now_s += 1
        return self.now_s

    def wait(self, event: object, timeout_s: float) -> bool:
        return False


def test_pictures_that_come_slowly_do_not_lose_their_batch(farm: Farm, hand: FarmHand, monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []
    add_rows = farm.store.add_rows
    monkeypatch.setattr(farm.store, "add_rows", lambda b, rows, **k: sizes.append(len(rows)) or add_rows(b, rows, **k))

    Farm(farm.config, store=farm.store, clock=SlowClock()).submit(["a"] * 100)  # type: ignore[arg-type]

    assert sum(sizes) == 100
    assert max(sizes) <= 0.2 * farm.config.submit_stale_s


# -- prompt files and the program


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.csv", "prompt,init_image,mask_image\na,in/a.png,in/b.png\n"),
        ("p.jsonl", '{"prompt": "a", "init_image": "in/a.png", "mask_image": "in/b.png"}\n'),
    ],
)
def test_paths_in_prompt_files_count_from_the_files_folder(
    run: Run, farm: Farm, tmp_path: Path, name: str, content: str
):
    (tmp_path / "there" / "in").mkdir(parents=True)
    for n, file in enumerate(("a.png", "b.png")):
        (tmp_path / "there" / "in" / file).write_bytes(file_of(picture(red=n)))
    (tmp_path / "there" / name).write_text(content)

    ran = run("submit", tmp_path / "there" / name)

    (request,) = requests_of(farm, ran.out.strip())
    assert (request.init_image, request.mask_image) == (farm.upload(picture(red=0)), farm.upload(picture(red=1)))


def test_a_folder_of_pictures_is_a_batch(run: Run, farm: Farm, tmp_path: Path):
    (tmp_path / "in").mkdir()
    for n, file in enumerate(("b.PNG", "a.jpg", "note.txt")):
        (tmp_path / "in" / file).write_bytes(file_of(picture(red=n), "JPEG" if file == "a.jpg" else "PNG"))

    ran = run("submit", "--init-image", "in", "-p", "x", "-p", "y", "--steps", "7")

    requests = requests_of(farm, ran.out.strip())
    first, second = farm.upload(tmp_path / "in" / "a.jpg"), farm.upload(tmp_path / "in" / "b.PNG")
    assert [(r.prompt, r.init_image) for r in requests] == [("x", first), ("x", second), ("y", first), ("y", second)]
    assert {r.num_inference_steps for r in requests} == {7}
    (tmp_path / "empty").mkdir()
    assert "there is no .png, .jpg, .jpeg or .webp in it" in run("submit", "--init-image", "empty", "-p", "x").err


def test_the_program_uploads_files_and_takes_flags(run: Run, farm: Farm, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(file_of(picture()))
    (tmp_path / "mask.webp").write_bytes(file_of(picture(red=9), "WEBP", lossless=True))

    said = run("upload", "a.png", "mask.webp")
    name, mask = said.out.split()
    ran = run("submit", "-p", "x", "--init-image", name, "--mask-image", "mask.webp", "--fit", "strict")

    assert run("upload", "a.png", "--json").json == {"images": [{"file": "a.png", "id": name}]}
    (request,) = requests_of(farm, ran.out.strip())
    assert (request.init_image, request.mask_image, request.fit) == (name, mask, "strict")
    ran = run("upload", "a.png", "none.png")
    assert (ran.code, ran.out.split(), "none.png cannot be read" in ran.err) == (2, [name], True)
