"""Networks of 8-bit integers: calibrated, measured, layers put back where it costs too much."""
