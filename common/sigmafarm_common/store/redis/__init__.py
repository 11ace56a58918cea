"""The parts of RedisStore: the connection, the scripts, and a file for each kind of question."""
