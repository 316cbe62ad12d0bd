"""Adapters to the machine, one file each."""
