"""What people do to a farm by way of HTTP: submit and steer. Routes, dashboard and fronts stand on it."""
