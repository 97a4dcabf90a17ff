"""Evaluation of models on test sets, and whether the results can be trusted."""
