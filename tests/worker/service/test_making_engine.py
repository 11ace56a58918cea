"""A model that cannot be loaded, or cannot draw, keeps no other from serving."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from sigmafarm_common.config import Config
from sigmafarm_common.errors import ModelNotLoadable
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.models import load_model
from sigmafarm_worker.service import making_engine
from sigmafarm_worker.service.making_engine import make_engine


@pytest.fixture
def broken(checkpoint: Path, tmp_path: Path) -> Path:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "broken"))
    config = json.loads((copy / "unet" / "config.json").read_text())
    (copy / "unet" / "config.json").write_text(json.dumps({**config, "sample_size": None}))
    return copy


def test_a_broken_model_is_told_and_the_others_serve(checkpoint: Path, broken: Path, run: Any):
    specs = {name: ModelSpec(name=name, path=str(path)) for name, path in (("bad", broken), ("good", checkpoint))}

    engine = make_engine(Config(max_images=1), "cpu", specs)

    assert list(engine.models) == ["good"]
    assert "unet: " in engine.broken["bad"]
    assert "config.json: sample_size is null: must be a whole number" in engine.broken["bad"]
    future = engine.submit(RenderRequest(prompt="a", model="good", num_inference_steps=1))
    run(engine)
    assert future.result(0).pixels.shape == (64, 64, 3)


def test_without_a_sound_model_a_worker_ends_for_good_and_names_them_all(broken: Path):
    specs = {name: ModelSpec(name=name, path=str(broken)) for name in ("one", "two")}

    with pytest.raises(ModelNotLoadable, match=r"model 'one', unet: .*; model 'two', unet: ") as caught:
        make_engine(Config(), "cpu", specs)
    assert caught.value.exit_code == 2, "another try is of no use: the supervisor ends too"


def test_an_error_that_nobody_foresaw_is_the_models_own(checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    def load(spec: ModelSpec, **options: Any) -> Any:
        if spec.name == "bad":
            raise TypeError("'NoneType' object cannot be interpreted as an integer")
        return load_model(spec, **options)

    monkeypatch.setattr(making_engine, "load_model", load)
    specs = {name: ModelSpec(name=name, path=str(checkpoint)) for name in ("bad", "good")}

    engine = make_engine(Config(max_images=1), "cpu", specs)

    assert "model 'bad' cannot be loaded (TypeError: 'NoneType' object" in engine.broken["bad"]


def test_a_model_that_cannot_draw_leaves_at_the_warm_up(checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    bad, good = (load_model(ModelSpec(name=name, path=str(checkpoint))) for name in ("bad", "good"))
    monkeypatch.setattr(bad.unet, "forward", lambda *_, **__: None)
    both = Engine({"bad": bad, "good": good}, 1)

    both.warm_up()

    assert list(both.models) == ["good"]
    assert both.broken["bad"].startswith("model 'bad' is loaded and cannot draw (")
    with pytest.raises(ModelNotLoadable, match="model 'bad' is loaded and cannot draw"):
        Engine(bad, 1).warm_up()


@pytest.mark.parametrize("is_asked_for", [False, True])
def test_convolutions_are_tuned_where_that_is_asked_for(
    is_asked_for: bool, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", not is_asked_for)

    make_engine(Config(tune_convolutions=is_asked_for), "cpu", {"good": ModelSpec(name="good", path=str(checkpoint))})

    assert torch.backends.cudnn.benchmark is is_asked_for
