"""When things happen: definitions, planned times, and what becomes of a due job. Pure; time enters as an argument."""
