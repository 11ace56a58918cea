"""A model that is not what its name says: a VAE that answers NaN fails its jobs with a code of their own, and one that
another worker serves as something else is told; both by a real worker around the real engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sigmafarm import Farm
from sigmafarm_common.states import JobState
from sigmafarm_worker.models.random_checkpoint import make_random_checkpoint
from tests.common.store_contract import worker
from tests.farm_harness import FarmHarness
from tests.limits import until

pytestmark = pytest.mark.slow


@pytest.fixture
def spoiled_models(tmp_path: Path) -> Path:
    """A models file whose `tiny` has a VAE of which one weight is NaN."""
    folder = make_random_checkpoint(tmp_path / "spoiled")
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["decoder.conv_out.bias"][0] = torch.nan
    save_file(tensors, weights, metadata={"format": "pt"})
    file = tmp_path / "models.toml"
    file.write_text('[models.tiny]\npath = "spoiled"\ndefaults = { num_inference_steps = 4 }\n')
    return file


def test_black_pictures_fail_and_a_second_model_of_the_name_is_told(
    make_farm: Callable[..., FarmHarness], spoiled_models: Path
) -> None:
    farm = make_farm(models_file=spoiled_models)
    other = worker("other", slots=0, models=("tiny",)).model_copy(update={"fingerprints": {"tiny": "0f3c9a71d2e4"}})
    farm.start_worker()

    def is_told() -> bool:
        farm.store.renew(other, [])
        return "two models under one name" in farm.supervisors[0].log.read_text()

    until(is_told, "the worker tells that the model of its name is another elsewhere")
    batch = Farm(farm.config).submit(["a", "b"])
    farm.wait_for_batch(batch.id)

    log = farm.supervisors[0].log.read_text()
    mine = next(w for w in farm.store.workers() if w.id != "other").fingerprints["tiny"]
    assert "0f3c9a71d2e4 on other" in log
    assert mine in log
    assert "engine.model_not_finite" in log
    jobs = farm.store.jobs(batch.id)
    assert [(job.state, job.error_code, job.attempts) for job in jobs] == [
        (JobState.FAILED, "picture_not_finite", 1)
    ] * 2
    assert "the VAE of model 'tiny' answered NaN" in jobs[0].error
