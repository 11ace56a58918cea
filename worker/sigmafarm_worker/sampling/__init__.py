"""The mathematics of sampling: schedules, coefficients, guidance. Knows neither models nor engines."""
