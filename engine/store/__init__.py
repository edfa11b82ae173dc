"""Every SQL statement of the engine: one module per aggregate, functions named by intent."""
