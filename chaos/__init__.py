"""The chaos suite: faults under load, and what must hold."""
