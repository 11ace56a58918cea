"""Start a farm, a part of it, or its dashboard: up, worker, serve, open, logs, examples."""
