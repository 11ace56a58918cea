"""What the producer and the worker share: the records, the store, the object stores, the settings, the keeper."""
