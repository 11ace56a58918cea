"""Models: where a checkpoint's parts lie, how they are read, and what is known of a loaded one."""

from sigmafarm_common.weights.unet_config import LATENT_CHANNELS as LATENT_CHANNELS
from sigmafarm_worker.models.model import Model as Model
from sigmafarm_worker.models.model import bundled_model_path as bundled_model_path
from sigmafarm_worker.models.model import default_dtype as default_dtype
from sigmafarm_worker.models.model import find_tokenizer as find_tokenizer
from sigmafarm_worker.models.model import load_model as load_model
