"""The process around the engine: supervisor, Celery, the held jobs, delivery of pictures."""
