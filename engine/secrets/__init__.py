"""Values that nobody may read: encrypted in their rows, named in params, in the clear in a worker's memory alone."""
