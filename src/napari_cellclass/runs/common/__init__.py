"""Opening models and data sets from parameters, the engine cache, interrupts."""
