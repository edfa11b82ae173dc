"""What people do with runs of workflows: start, pause, resume, cancel, retry, skip, approve, fork, migrate."""
