"""The worker: one process that owns one device and one engine, and the supervisor that starts one per GPU."""
