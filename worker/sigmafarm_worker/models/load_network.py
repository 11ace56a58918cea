"""A network is built from a part's configuration and takes its weights, every one from its files."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from transformers import CLIPTextConfig, CLIPTextModel
from transformers.utils import logging as transformers_logging

from sigmafarm_common.errors import ModelNotLoadable
from sigmafarm_common.model_parts import PartFiles
from sigmafarm_common.weights.network_rules import built_from
from sigmafarm_worker.models.tensor_names import Tensors, read_weights
from sigmafarm_worker.telling import first_line

_KINDS: Mapping[str, Any] = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}


def load_network(files: PartFiles, dtype: torch.dtype, look: Callable[[str, Tensors], None]) -> Any:
    """Return a UNet, VAE or text encoder on the CPU. `look` sees the tensors under diffusers' names, as the files have
    them, before the network takes them. Raises ModelNotLoadable."""
    with quiet(), told(files):
        network = _built(files)
        tensors = read_weights(files)
    wanted = network.state_dict()
    _check(files, {name: tuple(t.shape) for name, t in wanted.items()}, tensors)
    tensors = {name: tensors[name] for name in wanted}
    look(files.part, tensors)
    # A copy: what only lies in the file would end the process when the file is changed.
    kept = {name: tensor.to(dtype, copy=True).contiguous() for name, tensor in tensors.items()}
    network.load_state_dict(kept, assign=True)
    return network


def _built(files: PartFiles) -> Any:
    """Return the network without memory for its weights: from the keys that were judged, and from no other."""
    config: Any = built_from(files.part, files.config)
    with init_empty_weights():
        if files.part == "text_encoder":
            return CLIPTextModel(CLIPTextConfig(**config))
        return _KINDS[files.part].from_config(config)


def _check(files: PartFiles, wanted: Mapping[str, tuple[int, ...]], found: Tensors) -> None:
    missing = [name for name in wanted if name not in found]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelNotLoadable(
            f"the weights in {files.place} lack {len(missing)} tensors ({missing[0]}{more}, by diffusers' names): they "
            "are not whole, or belong to another config.json; fetch the part again"
        )
    wrong = [name for name, shape in wanted.items() if tuple(found[name].shape) != shape]
    if wrong:
        name = wrong[0]
        more = f", and {len(wrong) - 1} more are off" if len(wrong) > 1 else ""
        raise ModelNotLoadable(
            f"{files.place} cannot be loaded: tensor {name} is {list(found[name].shape)}, its configuration wants "
            f"{list(wanted[name])}{more}: they belong to two models; fetch the part again"
        )


@contextmanager
def told(files: PartFiles) -> Generator[None]:
    """Turn a loader's exception into ours, with its first line."""
    try:
        yield
    except ModelNotLoadable:
        raise
    except Exception as error:  # what four libraries raise for what they did not expect of a file
        raise ModelNotLoadable(
            f"{files.place} cannot be loaded ({type(error).__name__}: {first_line(error)}): fetch the part again"
        ) from error


@contextmanager
def quiet() -> Generator[None]:
    """Keep the loaders' progress bars and reports out of the log; what matters of them becomes ModelNotLoadable."""
    undo: list[Callable[[], None]] = []
    for logging in (diffusers_logging, transformers_logging):
        level = logging.get_verbosity()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        undo += [lambda f=logging, at=level: f.set_verbosity(at), logging.enable_progress_bar]
    try:
        yield
    finally:
        for action in undo:
            action()
