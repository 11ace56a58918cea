"""diffusers' own pipeline, asked for pictures of one kind at once: what the baselines draw with."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from sigmafarm_common.samplers import BY_NAME
from sigmafarm_worker.models.layout import suit_layout
from tests.bench.race.loads import Asked

#: diffusers' class of the sampler that has no row of its own.
LMS_CLASS = "LMSDiscreteScheduler"


class Static:
    """One pipeline on one device. On a GPU in float16; images in the order that suits the device; the UNet compiled
    where that is asked for."""

    def __init__(self, folder: Path, device: str, *, is_compiled: bool = False):
        dtype = torch.float16 if device.startswith("cuda") else torch.float32
        options: dict[str, Any] = {"safety_checker": None, "requires_safety_checker": False, "torch_dtype": dtype}
        self.pipe = StableDiffusionPipeline.from_pretrained(folder, **options).to(device)
        self.pipe.set_progress_bar_config(disable=True)
        for network in (self.pipe.unet, self.pipe.vae):
            suit_layout(network, self.pipe.device)
        if is_compiled:
            self.pipe.unet = torch.compile(self.pipe.unet)
        self._config = self.pipe.scheduler.config

    def draw(self, asked: Sequence[Asked]) -> list[Image.Image]:
        """Return the pictures of requests that share a key, drawn by one call."""
        first = asked[0]
        assert {each.key for each in asked} == {first.key}
        self.pipe.scheduler = self._scheduler(first.sampler)
        return self.pipe(
            [each.prompt for each in asked],
            num_inference_steps=first.num_inference_steps,
            guidance_scale=first.guidance_scale,
            height=first.side,
            width=first.side,
            generator=[torch.Generator("cpu").manual_seed(each.seed) for each in asked],
        ).images

    def _scheduler(self, sampler: str) -> Any:
        row = BY_NAME[sampler]
        kind = getattr(diffusers, row.scheduler or LMS_CLASS)
        return kind.from_config(self._config, **{**row.options, "use_karras_sigmas": True})


def png(picture: Image.Image) -> bytes:
    """Return the file, with Pillow's own effort, as the reference programs save it."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


class Bucket:
    """The bucket that the environment names, by boto3."""

    def __init__(self) -> None:
        import boto3

        self._client: Any = boto3.client("s3", endpoint_url=os.environ["RACE_S3_URL"], region_name="us-east-1")
        self._name = os.environ["RACE_BUCKET"]

    def put(self, key: str, data: bytes) -> None:
        self._client.put_object(Bucket=self._name, Key=key, Body=data, ContentType="image/png")
