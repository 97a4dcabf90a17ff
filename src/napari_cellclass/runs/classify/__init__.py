"""From one field to a plate: in this process, in worker processes, on a Dask cluster."""
