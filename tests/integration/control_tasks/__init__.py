"""What people do to tasks of the queue."""
