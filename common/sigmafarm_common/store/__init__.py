"""The farm's records: the contract (protocol), and the store on Redis (redis_store, its parts in redis/ and lua/)."""
