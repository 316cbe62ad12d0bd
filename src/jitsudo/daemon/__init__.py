"""The daemon: decides, records, ends what it allowed."""
