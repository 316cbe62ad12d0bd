"""The root helper of checked edits: nothing is installed that its check did not accept."""
