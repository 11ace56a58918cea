"""How the bundled model is made: its pictures, captions, tokenizer, training and evaluation.

Nothing here is shipped in the wheel; only the weights that it produces are. `train.py` is the one command.
"""
