"""The doctor: what a farm stands on, looked at before and while it runs. Each finding is ok, a warning or a failure,
with the cure.

`server.py` judges Redis (RedisStore.check asks it too, at every start), `model_folders.py` the models' files,
`examination.py` puts everything together.
"""
