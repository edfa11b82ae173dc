"""Step graphs, pure: what a definition says, what follows what, what a step is to do."""
