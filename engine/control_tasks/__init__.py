"""What people do to tasks of the queue: find them, ask why one is not done, do one again, give one up."""
