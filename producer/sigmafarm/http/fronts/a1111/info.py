"""What AUTOMATIC1111 says about pictures: the text that every tool reads, and the `info` of an answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sigmafarm.http.fronts.a1111.asked import Txt2Img
from sigmafarm.http.fronts.a1111.samplers import drawn_with
from sigmafarm_common.records import Job
from sigmafarm_common.settings import RenderRequest


def infotext(request: RenderRequest) -> str:
    """Return a picture's settings as its file carries them under `parameters`."""
    words: dict[str, Any] = {
        "Steps": request.num_inference_steps,
        "Sampler": "LMS Karras" if request.karras_sigmas else "LMS",
        "CFG scale": f"{request.guidance_scale:g}",
        "Seed": request.seed,
        "Size": f"{request.width}x{request.height}",
        "Model": request.model,
    }
    if request.lms_order not in (None, 4):
        words["LMS order"] = request.lms_order
    lines = [request.prompt]
    if request.negative_prompt:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    lines.append(", ".join(f"{name}: {value}" for name, value in words.items()))
    return "\n".join(lines)


def info(asked: Txt2Img, jobs: Sequence[Job], first: Job) -> dict[str, Any]:
    """Return what `info` says of the pictures; `first` is the first job of the request, drawn or not."""
    request = first.request
    notes = asked.notes
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
        "sampler_name": drawn_with(request),
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
        "denoising_strength": None,
        "extra_generation_params": {"Notes": "; ".join(notes)} if notes else {},
        "index_of_first_image": 0,
        "infotexts": [infotext(job.request) for job in jobs],
        "styles": [],
        "job_timestamp": timestamp(first.submitted_ms),
        "clip_skip": 1,
        "is_using_inpainting_conditioning": False,
    }


def timestamp(ms: int) -> str:
    """Return a time as AUTOMATIC1111 writes it, in UTC."""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(ms / 1000))
