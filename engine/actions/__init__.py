"""What rules can do: one file per kind of action, a base contract, a registry."""
