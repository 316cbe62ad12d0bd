"""The command line: `jitsudo`."""
