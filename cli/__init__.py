"""The command line `cmis`: one file per group of commands, thin over the engine."""
