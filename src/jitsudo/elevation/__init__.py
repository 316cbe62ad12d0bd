"""What sudoers used to do, pure: from what sudo was told to how the command is to be run."""
