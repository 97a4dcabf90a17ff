"""What the command line and the widgets both call: each verb from its parameters to its results."""
