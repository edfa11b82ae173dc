"""Run instances of workflows: claim, execute what is ready, record, commit; and what signals and timers come to."""
