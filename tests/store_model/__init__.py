"""The store as a model, which random lives of a farm compare with RedisStore."""
