"""What a text encoder's config.json would say, from the shapes of its tensors.

All CLIP models have heads that are 64 wide. OpenCLIP's, which Stable Diffusion 2.x reads prompts with, has another
activation, and its last layer was never used: the UNet was trained on what the one before it says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sigmafarm_common.errors import ModelNotLoadable
from sigmafarm_common.weights.content import Naming
from sigmafarm_common.weights.header import Shape

#: The width of a head of every CLIP model.
HEAD_WIDTH = 64
#: Layers of OpenCLIP's ViT-H that count: the last of its 24 is left out.
NUM_OPEN_CLIP_LAYERS = 23
#: Names by naming: the words, their places, what the layers' names begin with, the first of two wide layers in each.
_NAMES: Mapping[bool, tuple[str, str, str, str]] = {
    True: ("token_embedding.weight", "positional_embedding", "transformer.resblocks.", "mlp.c_fc.weight"),
    False: (
        "embeddings.token_embedding.weight",
        "embeddings.position_embedding.weight",
        "encoder.layers.",
        "mlp.fc1.weight",
    ),
}


def infer_text_config(shapes: Mapping[str, Shape], naming: Naming) -> dict[str, Any]:
    """Return the configuration of a text encoder whose tensors have these names (without a prefix) and shapes.

    Raises ModelNotLoadable, with the tensor that is missing.
    """
    is_open_clip = naming is Naming.OPEN_CLIP
    words, places, start, wide = _NAMES[is_open_clip]
    layers = {int(name.removeprefix(start).split(".")[0]) for name in shapes if name.startswith(start)}
    try:
        num_words, width = shapes[words]
        num_places, inner = shapes[places][0], shapes[f"{start}0.{wide}"][0]
    except KeyError as error:
        raise ModelNotLoadable(f"tensor {error.args[0]} is missing: fetch the file again") from None
    num_layers = max(layers) + 1
    # A part that save_pretrained wrote for 2.x is as wide, and has lost its last layer already.
    is_second = is_open_clip or width == 1024
    return {
        "model_type": "clip_text_model",
        "architectures": ["CLIPTextModel"],
        "vocab_size": num_words,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": min(num_layers, NUM_OPEN_CLIP_LAYERS) if is_open_clip else num_layers,
        "num_attention_heads": max(1, width // HEAD_WIDTH),
        "max_position_embeddings": num_places,
        "hidden_act": "gelu" if is_second else "quick_gelu",
        "layer_norm_eps": 1e-5,
        "bos_token_id": num_words - 2,
        "eos_token_id": num_words - 1,
        "pad_token_id": 0 if is_second else num_words - 1,
    }
