"""Take care of a farm: check, sweep, adopt, doctor, keys, config."""
