"""What AUTOMATIC1111 says about pictures: the text that every tool reads, and the `info` of an answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from sigmafarm.http.fronts.a1111.asked import Txt2Img
from sigmafarm_common.picture_text import USUAL_WORDS, sampler_name, words_of, write_text
from sigmafarm_common.records import Job

#: What the program that drew it is called, and its version.
VERSION = f"sigmafarm-v{version('sigmafarm')}"


def info(asked: Txt2Img, jobs: Sequence[Job], first: Job) -> dict[str, Any]:
    """Return what `info` says of the pictures; `first` is the first job of the request, drawn or not."""
    request, settings = first.request, first.request.said()
    extra = {name: value for name, value in words_of(settings).items() if name not in USUAL_WORDS}
    told = dict.fromkeys([*asked.notes, *(each.text for job in jobs for each in job.warnings)])
    notes = {"Notes": "; ".join(told)} if told else {}
    return {
        "prompt": request.prompt,
        "all_prompts": [job.request.prompt for job in jobs],
        "negative_prompt": request.negative_prompt or "",
        "all_negative_prompts": [job.request.negative_prompt or "" for job in jobs],
        "seed": request.seed,
        "all_seeds": [job.request.seed for job in jobs],
        "subseed": request.seed,
        "all_subseeds": [job.request.seed for job in jobs],
        "subseed_strength": 0,
        "width": request.width,
        "height": request.height,
        "sampler_name": sampler_name(settings),
        "cfg_scale": request.guidance_scale,
        "steps": request.num_inference_steps,
        "batch_size": asked.batch_size or 1,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": request.model,
        "sd_model_hash": "",
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": request.strength,
        "extra_generation_params": {**extra, **notes},
        "index_of_first_image": 0,
        "infotexts": [write_text(job.request.said()) for job in jobs],
        "styles": [],
        "job_timestamp": timestamp(first.submitted_ms),
        "clip_skip": request.clip_skip or 1,
        "is_using_inpainting_conditioning": False,
        "version": VERSION,
    }


def timestamp(ms: int) -> str:
    """Return a time as AUTOMATIC1111 writes it, in UTC."""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(ms / 1000))
