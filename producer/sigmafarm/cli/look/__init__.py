"""Look at a farm, and take away: status, jobs, report, download, sheet, workers, models, inspect."""
