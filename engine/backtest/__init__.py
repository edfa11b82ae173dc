"""Trying a rule on the past: stored metrics as they became known, and the planner itself."""
