"""The scenarios of RELIABILITY §8. Each module here that defines `SCENARIO` is one."""
