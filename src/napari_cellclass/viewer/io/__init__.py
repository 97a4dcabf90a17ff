"""Readers, writers and sample data of the npe2 manifest."""
