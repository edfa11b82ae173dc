"""The pure part of the way out."""
