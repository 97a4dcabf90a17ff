"""Errors, progress and cancelling, atomic files, locks, limits, prefetching, journals: knows neither images nor labels."""
