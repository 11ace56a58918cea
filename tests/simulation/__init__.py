"""The farm's own code in one thread of control, under a virtual clock and a seeded scheduler. See README.md."""
