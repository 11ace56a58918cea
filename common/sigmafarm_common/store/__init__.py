"""The farm's records: the contract (protocol), the store on Redis (redis_store), its twin in memory (memory_store)."""
