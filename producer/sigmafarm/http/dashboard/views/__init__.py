"""What pages show, made of the farm's records: frozen data and pure functions, no IO."""
