"""The doctor: what a farm stands on, looked at before and while it runs. Each finding is ok, a warning or a failure,
with the cure.

`model_folders.py` judges the models' files, store/redis/server_findings.py Redis (RedisStore.check asks it too, at
every start); `examination.py` puts everything together.
"""
