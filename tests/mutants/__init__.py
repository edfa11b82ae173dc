"""Mutants: with one of the five protections taken out, the smallest scenario that needs it must fail.

What lives in the database is taken out of a throw-away copy; what lives in Python, out of forked processes of the
test. Nothing in the product can be switched off.
"""
