"""Foundations that know no word of the domain: configuration, database, clock, ids, errors, logs, fault points."""
