"""Errors, tasks, atomic files, locks, limits, prefetching, journals and CSV tables; knows neither images nor labels."""
