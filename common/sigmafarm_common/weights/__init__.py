"""What a file of weights holds, read from its header alone: without torch, and without its gigabytes.

`header.py` reads names, types and shapes; `content.py` says which parts of a model they are; `unet_config.py`,
`vae_config.py` and `text_config.py` infer from the shapes what a config.json would say; `scheduler_marks.py` what the
model predicts; `config_rules.py` judges a config.json that is there (`network_rules.py`, `scheduler_rules.py`: what it
must say; `fits.py`: how that is asked), `told_by_shapes.py` whether it belongs to the weights beside it.
"""
