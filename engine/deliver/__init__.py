"""Effects outside the database: delivered by couriers, at least once, under one key in every attempt."""
