"""What the fronts of other interfaces share: a client waits at its request for the pictures of a batch of its own."""
