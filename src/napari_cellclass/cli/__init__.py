"""The command line: an argparse front end, one module per verb."""
