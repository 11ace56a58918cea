"""What keeps one client from taking the server for itself: places for connections and callers, and deadlines."""
