"""The only way out by HTTP: addresses that a delivery may reach, and calls that are bounded in time and size."""
