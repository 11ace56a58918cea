"""What /metrics tells Prometheus. The farm's figures come from the store, so that every API process tells the same; how
long answers took is of the process that is asked alone. No series bears the name of a worker, a machine or a process:
their number depends on the models, and does not grow as workers come and go."""
