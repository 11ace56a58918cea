"""Change what was submitted, and who draws: cancel, pause, resume, retry, priority, rate, drain, undrain."""
