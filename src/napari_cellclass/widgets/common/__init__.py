"""What widgets share: the base of docks, jobs, forms, figures, choices."""
