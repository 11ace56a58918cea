"""The three networks, in the sizes that together stay under ten megabytes in half precision."""

from __future__ import annotations

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

#: Stable Diffusion 1.x's factor between the VAE's latents and the UNet's. Whitening makes it exact, not fitted.
SCALING_FACTOR = 0.18215
#: Width of the text embeddings.
TEXT_WIDTH = 128
#: Tokens of a prompt, padding included.
NUM_POSITIONS = 77


def build_vae() -> AutoencoderKL:
    """Give a fresh VAE: 8x smaller, four latent channels, 1.0 M parameters."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 64),
        layers_per_block=1,
        norm_num_groups=2,
        latent_channels=4,
        sample_size=128,
        scaling_factor=SCALING_FACTOR,
    )


def build_unet() -> UNet2DConditionModel:
    """Give a fresh UNet of two levels, 3.6 M parameters.

    Only the lower level attends to itself and to the text: attention on the upper one took 40 % of a training step.
    """
    return UNet2DConditionModel(
        sample_size=16,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 120),
        layers_per_block=1,
        attention_head_dim=4,
        cross_attention_dim=TEXT_WIDTH,
        norm_num_groups=8,
    )


def build_text_encoder(num_ids: int) -> CLIPTextModel:
    """Give a fresh CLIP text encoder for a vocabulary whose last two ids are begin and end."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=num_ids,
            hidden_size=TEXT_WIDTH,
            intermediate_size=TEXT_WIDTH * 3 // 2,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=NUM_POSITIONS,
            bos_token_id=num_ids - 2,
            eos_token_id=num_ids - 1,
            pad_token_id=num_ids - 1,
        )
    )
