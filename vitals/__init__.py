"""Signs of life of long-running processes: heartbeat rows, a watchdog, `/healthz`, and an end within a bound."""
