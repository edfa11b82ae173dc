"""Calls outside, on real sockets."""
