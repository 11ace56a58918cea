"""The numbers of pictures and of prompts that a GPU will decode and encode at once, each done before anybody waits:
libraries choose their kernels and take their workspaces at the first call of a shape."""

from __future__ import annotations

import torch

from sigmafarm_worker.engine.failures import free_cached, is_out_of_memory
from sigmafarm_worker.engine.memory import MAX_DECODED_AT_ONCE
from sigmafarm_worker.models import Model
from sigmafarm_worker.models.prompts import MAX_ENCODED_AT_ONCE
from sigmafarm_worker.telling import first_line, tell


def warm_batches(model: Model) -> None:
    """Decode and encode every number of pictures and prompts of native size. A number that finds no memory is left out:
    later, the work is split by itself. Raises whatever else goes wrong."""
    try:
        _encode(model)
        _decode(model)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        free_cached(error)
        tell("warning", "engine.batch_not_warmed_up", model=model.name, error=first_line(error))


def _encode(model: Model) -> None:
    at = 0
    for num in range(1, MAX_ENCODED_AT_ONCE + 1):
        # Others each time: what was encoded once is remembered.
        model.prompts.embeddings([model.prompts.tokens(str(at + n)) for n in range(num)])
        at += num


def _decode(model: Model) -> None:
    height, width = model.height // model.vae_factor, model.width // model.vae_factor
    for num in range(1, MAX_DECODED_AT_ONCE + 1):
        model.decode(torch.zeros(num, 4, height, width, device=model.device))
