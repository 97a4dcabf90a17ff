"""What widgets share: the base class of docks, background jobs, forms, figures and choices."""
