"""The service that runs a chunk of rule evaluations: claim, lock, facts, plan, effects, records, finish."""
