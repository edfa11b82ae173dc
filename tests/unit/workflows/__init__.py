"""The pure part of deliveries."""
