"""The chaos suite: real processes under load, with faults, and what must hold. Nothing of the product imports it.

`make chaos`, or `python -m chaos --only C1 --seconds 30 --seed 7`; docs/chaos.md says what each scenario is.
"""
