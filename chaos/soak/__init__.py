"""A long run at part of the load that the machine can carry, and whether what it uses stays as it is."""
