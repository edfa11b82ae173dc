"""One file per channel: how its messages are sent, and what its answers mean."""
