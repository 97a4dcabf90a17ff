"""Training, its preview, repeated runs, worker processes, the child process, the experiment."""
